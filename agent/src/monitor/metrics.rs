//! The page of metrics.

use crate::api::App;
use crate::flow::State;
use crate::kernel::Kernel;

use super::exposition::Page;
use super::requests::BOUNDS;

/// Everything that is counted, in Prometheus' text format. What the kernel refuses to tell is left out.
pub(crate) fn render<K: Kernel>(app: &App<K>) -> String {
    let mut page = Page::default();
    page.family("weft_build_info", "gauge", "Always 1; the labels tell what runs.");
    page.sample("weft_build_info", &[("version", &env!("CARGO_PKG_VERSION")), ("abi", &weft_abi::VERSION)], 1);
    page.family("weft_endpoints", "gauge", "Attachments with a record.");
    page.sample("weft_endpoints", &[], app.endpoints.count());
    cluster(&mut page, app);
    pools(&mut page, app);
    verdicts(&mut page, app);
    maps(&mut page, app);
    flows(&mut page, app);
    requests(&mut page, app);
    page.finish()
}

/// Nothing of a standalone agent.
fn cluster<K: Kernel>(page: &mut Page, app: &App<K>) {
    let Some(cluster) = &app.cluster else { return };
    let status = cluster.status(&app.endpoints);
    page.family("weft_kubernetes_connected", "gauge", "Whether every watch of the API server stands.");
    page.sample("weft_kubernetes_connected", &[], u8::from(status.connected));
    page.family("weft_kubernetes_objects", "gauge", "Objects of the cluster that are known; pods of this node alone.");
    for (kind, count) in [("node", status.nodes), ("service", status.services), ("pod", status.pods)] {
        page.sample("weft_kubernetes_objects", &[("kind", &kind)], count);
    }
    page.family("weft_unmanaged_pods", "gauge", "Pods of this node that another plugin has started.");
    page.sample("weft_unmanaged_pods", &[], status.unmanaged.len());
}

fn pools<K: Kernel>(page: &mut Page, app: &App<K>) {
    page.family("weft_pool_addresses", "gauge", "Addresses of a pod range by state.");
    for pool in app.endpoints.pools() {
        let free = pool.capacity.saturating_sub(pool.used).saturating_sub(pool.resting);
        for (state, count) in [("leased", pool.used), ("resting", pool.resting), ("free", free)] {
            page.sample("weft_pool_addresses", &[("cidr", &pool.cidr), ("state", &state)], count);
        }
    }
}

fn verdicts<K: Kernel>(page: &mut Page, app: &App<K>) {
    let verdicts = app.endpoints.kernel().verdicts().unwrap_or_default();
    page.family("weft_verdicts_packets_total", "counter", "Packets by verdict; direction as seen from the pod.");
    for count in &verdicts {
        let labels: [(&str, &dyn std::fmt::Display); 2] = [("reason", &count.reason), ("direction", &count.direction)];
        page.sample("weft_verdicts_packets_total", &labels, count.packets);
    }
    page.family("weft_verdicts_bytes_total", "counter", "Bytes by verdict; direction as seen from the pod.");
    for count in &verdicts {
        let labels: [(&str, &dyn std::fmt::Display); 2] = [("reason", &count.reason), ("direction", &count.direction)];
        page.sample("weft_verdicts_bytes_total", &labels, count.bytes);
    }
}

fn maps<K: Kernel>(page: &mut Page, app: &App<K>) {
    let maps = app.endpoints.kernel().maps().unwrap_or_default();
    page.family("weft_map_entries", "gauge", "Entries in a map, where they can be counted.");
    for map in &maps {
        if let Some(entries) = map.entries {
            page.sample("weft_map_entries", &[("map", &map.name)], entries);
        }
    }
    page.family("weft_map_max_entries", "gauge", "Room in a map; bytes for a ring buffer.");
    for map in &maps {
        page.sample("weft_map_max_entries", &[("map", &map.name)], map.max_entries);
    }
}

fn flows<K: Kernel>(page: &mut Page, app: &App<K>) {
    let sum = app.flows.snapshot();
    page.family("weft_flows", "gauge", "Flows by state, as the last sweep found them.");
    for (state, count) in State::ALL.iter().zip(sum.last.states) {
        page.sample("weft_flows", &[("state", &state.name())], count);
    }
    let help = "Flows that a sweep removed; orphaned ones had lost a half for want of room in a table.";
    page.family("weft_flows_removed_total", "counter", help);
    for (reason, count) in sum.removed.by_reason() {
        page.sample("weft_flows_removed_total", &[("reason", &reason)], count);
    }
    page.family("weft_flow_sweeps_total", "counter", "Sweeps over the tables of flows.");
    page.sample("weft_flow_sweeps_total", &[], sum.sweeps);
    page.family("weft_flow_sweep_cpu_seconds_total", "counter", "Processor time of all sweeps.");
    page.sample("weft_flow_sweep_cpu_seconds_total", &[], sum.cpu.as_secs_f64());
    page.family("weft_flow_sweep_cpu_seconds", "gauge", "Processor time of the last sweep.");
    page.sample("weft_flow_sweep_cpu_seconds", &[], sum.last.cpu.as_secs_f64());
    page.family("weft_nat_ports_exhausted", "gauge", "Flows that found no port, by destination.");
    for full in app.endpoints.kernel().exhausted().unwrap_or_default() {
        let port = full.outside.port.unwrap_or(0);
        let labels: [(&str, &dyn std::fmt::Display); 3] =
            [("address", &full.outside.address), ("port", &port), ("protocol", &full.protocol)];
        page.sample("weft_nat_ports_exhausted", &labels, full.flows);
    }
}

fn requests<K: Kernel>(page: &mut Page, app: &App<K>) {
    let verbs = app.requests.snapshot();
    page.family("weft_requests_total", "counter", "Requests on the agent's socket by HTTP status.");
    for (verb, stats) in &verbs {
        for (status, count) in &stats.statuses {
            page.sample("weft_requests_total", &[("verb", verb), ("status", status)], count);
        }
    }
    let name = "weft_request_duration_seconds";
    page.family(name, "histogram", "How long requests on the agent's socket took.");
    for (verb, stats) in &verbs {
        let mut up_to = 0;
        for (bound, count) in BOUNDS.iter().zip(stats.buckets) {
            up_to += count;
            page.sample(&format!("{name}_bucket"), &[("verb", verb), ("le", bound)], up_to);
        }
        page.sample(&format!("{name}_bucket"), &[("verb", verb), ("le", &"+Inf")], stats.count);
        page.sample(&format!("{name}_sum"), &[("verb", verb)], stats.seconds);
        page.sample(&format!("{name}_count"), &[("verb", verb)], stats.count);
    }
}

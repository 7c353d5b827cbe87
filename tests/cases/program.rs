//! The programs, packet by packet: verdict, bytes out, counter and record.

mod program_adopted;
mod program_arp;
mod program_cost;
mod program_deliver;
mod program_discovery;
mod program_fragments;
mod program_fuzz;
mod program_limits;
mod program_load;
mod program_malformed;
mod program_masquerade;
mod program_multicast;
mod program_overlay;
mod program_ports;
mod program_ports_life;
mod program_ports_local;
mod program_reasons;
mod program_record;
mod program_return;
mod program_round_trip;
mod program_source;
mod program_stack;
mod program_to_pod;
mod program_wire;

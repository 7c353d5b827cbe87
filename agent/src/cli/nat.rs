//! `weft nat`.

use weft_cni::api::Translations;
use weft_cni::client::Client;

use super::error::CliError;
use super::flow::socket;
use super::get;
use super::output::{Output, seconds};

pub(super) fn list(client: &mut Client, output: &Output, limit: Option<usize>) -> Result<(), CliError> {
    let query = limit.map_or_else(String::new, |limit| format!("?limit={limit}"));
    let translations: Translations = get(client, &format!("/v1/nat{query}"))?;
    if output.is_json() {
        return Ok(Output::json(&translations)?);
    }
    let mut table = output.new_table(&["PROTO", "NODE", "OUTSIDE", "POD", "ANSWERED"]);
    for mapping in &translations.mappings {
        table.add_row([
            mapping.protocol.clone(),
            socket(&mapping.node),
            socket(&mapping.outside),
            socket(&mapping.inside),
            mapping.idle.map_or("never".to_owned(), |idle| format!("{} ago", seconds(idle))),
        ]);
    }
    Output::table(table)?;
    Output::line("")?;
    let mut table = output.new_table(&["TABLE", "ENTRIES", "ROOM", "FULL"]);
    for one in &translations.tables {
        let percent = one.entries * 100 / u64::from(one.room.max(1));
        table.add_row([one.name.clone(), one.entries.to_string(), one.room.to_string(), format!("{percent} %")]);
    }
    Output::table(table)?;
    if translations.exhausted.is_empty() {
        return Ok(());
    }
    Output::line("")?;
    let mut table = output.new_table(&["NO PORT LEFT TOWARDS", "PROTO", "FLOWS"]);
    for full in &translations.exhausted {
        table.add_row([socket(&full.outside), full.protocol.clone(), full.flows.to_string()]);
    }
    Ok(Output::table(table)?)
}

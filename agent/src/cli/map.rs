//! `weft map`.

use serde_json::Value;
use weft_cni::api::MapInfo;
use weft_cni::client::Client;

use super::error::CliError;
use super::get;
use super::output::Output;

pub(super) fn list(client: &mut Client, output: &Output) -> Result<(), CliError> {
    let maps: Vec<MapInfo> = get(client, "/v1/maps")?;
    if output.is_json() {
        return Ok(Output::json(&maps)?);
    }
    let mut table = output.new_table(&["NAME", "KIND", "KEY", "VALUE", "ENTRIES", "ROOM", "PINNED"]);
    for map in &maps {
        table.add_row([
            map.name.clone(),
            map.kind.clone(),
            map.key_size.to_string(),
            map.value_size.to_string(),
            map.entries.map_or("-".to_owned(), |entries| entries.to_string()),
            map.max_entries.to_string(),
            map.pinned.clone(),
        ]);
    }
    Ok(Output::table(table)?)
}

pub(super) fn dump(client: &mut Client, output: &Output, name: &str) -> Result<(), CliError> {
    // Anything else would have to be encoded, and no map is called so.
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(CliError::NoMap { name: name.to_owned() });
    }
    let entries: Vec<Value> = get(client, &format!("/v1/maps/{name}"))?;
    if output.is_json() {
        return Ok(Output::json(&entries)?);
    }
    let columns = columns(&entries);
    let headings: Vec<_> = columns.iter().map(|column| column.to_uppercase()).collect();
    let mut table = output.new_table(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    for entry in &entries {
        table.add_row(columns.iter().map(|column| cell(entry.get(*column))));
    }
    Ok(Output::table(table)?)
}

/// The fields of the entries, each once, as they first come.
fn columns(entries: &[Value]) -> Vec<&str> {
    let mut columns: Vec<&str> = Vec::new();
    for field in entries.iter().filter_map(Value::as_object).flat_map(|entry| entry.keys()) {
        if !columns.contains(&field.as_str()) {
            columns.push(field);
        }
    }
    columns
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(","),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_make_columns() {
        let entries = [json!({"addr": "10.0.0.2", "flags": ["a", "b"]}), json!({"addr": "::1", "id": 7})];
        assert_eq!(columns(&entries), ["addr", "flags", "id"]);
        let cells: Vec<_> = columns(&entries).iter().map(|column| cell(entries[0].get(*column))).collect();
        assert_eq!(cells, ["10.0.0.2", "a,b", "-"]);
    }
}

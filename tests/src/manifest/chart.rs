//! A Helm chart, rendered without Helm: Go's templates by a crate, and of Helm's own functions those that the chart uses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gtmpl_ng::{Context as Data, Func, FuncError, Template, Value as Argument};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::parse;

/// A directory with `Chart.yaml`, `values.yaml` and templates.
#[derive(Debug)]
pub struct Chart(PathBuf);

impl Chart {
    /// The chart of a directory.
    pub fn of(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// What it says of itself.
    pub fn about(&self) -> Result<Value> {
        self.document("Chart.yaml")
    }

    /// The values that it has by itself.
    pub fn values(&self) -> Result<Value> {
        self.document("values.yaml")
    }

    /// The objects that it renders to, with values in place of its own, as `helm template --values` does.
    pub fn render(&self, given: &Value) -> Result<Vec<Value>> {
        let mut values = self.values()?;
        merge(&mut values, given);
        let about = self.about()?;
        let data = json!({
            "Values": values,
            "Chart": { "Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"] },
        });
        let data: Argument = serde_json::from_value(data).context("values")?;
        let mut objects = Vec::new();
        for template in fs::read_dir(self.0.join("templates")).context("list the templates")? {
            let path = template?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = render(&path, &data).with_context(|| path.display().to_string())?;
                objects.extend(parse(&text).with_context(|| format!("{}:\n{text}", path.display()))?);
            }
        }
        Ok(objects)
    }

    fn document(&self, name: &str) -> Result<Value> {
        let path = self.0.join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        match parse(&text)?.into_iter().next() {
            Some(document) => Ok(document),
            None => bail!("{} is empty", path.display()),
        }
    }
}

/// Tables are merged, everything else is replaced.
fn merge(values: &mut Value, given: &Value) {
    match (values, given) {
        (Value::Object(values), Value::Object(given)) => {
            for (key, value) in given {
                merge(values.entry(key).or_insert(Value::Null), value);
            }
        }
        (values, given) => *values = given.clone(),
    }
}

fn render(path: &Path, data: &Argument) -> Result<String> {
    let mut template = Template::default();
    template.add_funcs(&FUNCTIONS);
    template.parse(fs::read_to_string(path)?)?;
    let text = template.render(&Data::from(data.clone()))?;
    if text.contains("<no value>") {
        bail!("names a value that is not there:\n{text}");
    }
    Ok(text)
}

const FUNCTIONS: [(&str, Func); 6] = [
    ("default", default),
    ("nindent", nindent),
    ("quote", quote),
    ("sha256sum", sha256sum),
    ("toJson", to_json),
    ("toYaml", to_yaml),
];

/// `default INSTEAD VALUE`: of texts.
fn default(arguments: &[Argument]) -> Result<Argument, FuncError> {
    let [instead, value] = exactly("default", arguments)?;
    Ok(if plain(value)?.as_str() == Some("") { instead } else { value }.clone())
}

/// `nindent SPACES TEXT`: on new lines, each begun with so many spaces.
fn nindent(arguments: &[Argument]) -> Result<Argument, FuncError> {
    let [spaces, text] = exactly("nindent", arguments)?;
    let spaces = plain(spaces)?.as_u64().and_then(|spaces| usize::try_from(spaces).ok());
    let begin = format!("\n{}", " ".repeat(spaces.ok_or(FuncError::UnableToConvertFromValue)?));
    Ok(Argument::from(format!("{begin}{}", string(text)?.replace('\n', &begin))))
}

fn quote(arguments: &[Argument]) -> Result<Argument, FuncError> {
    let [value] = exactly("quote", arguments)?;
    let text = match plain(value)? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(Argument::from(Value::String(text).to_string()))
}

fn sha256sum(arguments: &[Argument]) -> Result<Argument, FuncError> {
    let [text] = exactly("sha256sum", arguments)?;
    Ok(Argument::from(sha256(&string(text)?)))
}

/// In hexadecimal digits, as Helm's function of that name.
pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn to_json(arguments: &[Argument]) -> Result<Argument, FuncError> {
    let [value] = exactly("toJson", arguments)?;
    Ok(Argument::from(plain(value)?.to_string()))
}

/// JSON is YAML.
fn to_yaml(arguments: &[Argument]) -> Result<Argument, FuncError> {
    to_json(arguments)
}

fn exactly<'a, const N: usize>(name: &str, arguments: &'a [Argument]) -> Result<&'a [Argument; N], FuncError> {
    arguments.try_into().map_err(|_| FuncError::ExactlyXArgs(name.to_owned(), N))
}

fn plain(value: &Argument) -> Result<Value, FuncError> {
    serde_json::to_value(value).map_err(|_| FuncError::UnableToConvertFromValue)
}

fn string(value: &Argument) -> Result<String, FuncError> {
    plain(value)?.as_str().map(str::to_owned).ok_or(FuncError::UnableToConvertFromValue)
}

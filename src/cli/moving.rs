//! `postroad import`: brings what other providers exported into the running service, through its API.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use postroad::config::Config;
use postroad::domain::suppression::Reason;

use super::{ImportArgs, import, local_url};

/// Hands exports to the API, file by file; says of each what became of it.
pub(super) async fn move_in(config: &Config, args: ImportArgs) -> Result<ExitCode> {
    let key = args.key.or_else(|| config.api_key.as_ref().map(|key| key.reveal().to_owned()));
    let key = key.context("give --key, or POSTROAD_API_KEY")?;
    let url = args.url.unwrap_or_else(|| local_url(config));
    let client = reqwest::Client::builder().no_proxy().build()?;
    let api = Api { client, url, key };
    let mut whole = true;
    for path in &args.files {
        let name = path.display().to_string();
        let octets = std::fs::read(path).with_context(|| name.clone())?;
        let is_json = octets.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['));
        if !is_json {
            let answer = api.suppress(octets, args.reason).await.with_context(|| name.clone())?;
            println!("{name}: {answer}");
            continue;
        }
        let text = String::from_utf8(octets).with_context(|| format!("{name} is not in UTF-8"))?;
        let dump = import::read(&text, args.reason).with_context(|| name.clone())?;
        if !dump.suppressions.is_empty() {
            let answer = api.suppress(csv_of(&dump.suppressions)?, None).await?;
            println!("{name}: {answer}");
        }
        for template in &dump.templates {
            let told = api.template(template).await?;
            println!("{name}: template {}: {told}", template["alias"]);
            whole &= told != "refused";
        }
        if dump.hollow > 0 {
            println!("{name}: {} templates without sources: export each of them", dump.hollow);
            whole = false;
        }
        if dump == import::Dump::default() {
            println!("{name}: nothing of {} that is known", args.provider);
            whole = false;
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn csv_of(rows: &[[String; 3]]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["email", "reason", "created_at"])?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))
}

/// The running service, for a command.
struct Api {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Api {
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<(u16, Value)> {
        let answer = request.bearer_auth(&self.key).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.context("the answer is no JSON: is this postroad?")?))
    }

    async fn suppress(&self, csv: Vec<u8>, reason: Option<Reason>) -> Result<String> {
        let reason = reason.map(|reason| format!("?reason={}", reason.as_str())).unwrap_or_default();
        let url = format!("{}/v1/suppressions/import{reason}", self.url);
        let (status, body) =
            self.ask(self.client.post(url).header("content-type", "text/csv").body(csv)).await?;
        if status != 200 {
            bail!("{}", body["detail"].as_str().unwrap_or("the list was refused"));
        }
        let count = |name: &str| body[name].as_u64().unwrap_or_default();
        let (added, already, invalid) = (count("added"), count("already"), count("invalid"));
        Ok(format!("{added} addresses added, {already} known, {invalid} not usable"))
    }

    /// Made, or changed if there is one of that alias.
    async fn template(&self, template: &Value) -> Result<&'static str> {
        let url = format!("{}/v1/templates", self.url);
        let (status, body) = self.ask(self.client.post(&url).json(template)).await?;
        match status {
            201 => return Ok("made"),
            409 => {}
            _ => {
                eprintln!("{}", body["detail"].as_str().unwrap_or_default());
                return Ok("refused");
            }
        }
        let alias = template["alias"].as_str().unwrap_or_default();
        let (status, body) = self.ask(self.client.patch(format!("{url}/{alias}")).json(template)).await?;
        if status == 200 {
            return Ok("changed");
        }
        eprintln!("{}", body["detail"].as_str().unwrap_or_default());
        Ok("refused")
    }
}

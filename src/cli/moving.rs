//! `postroad import`: brings what other providers exported into the running service, through its API.

use std::path::Path;
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
        let start = octets.trim_ascii_start();
        if start.starts_with(b"-----BEGIN ") {
            whole &= api.key_file(path, &octets).await?;
            continue;
        }
        if !start.first().is_some_and(|first| matches!(first, b'{' | b'[')) {
            let answer = api.suppress(octets, args.reason).await.with_context(|| name.clone())?;
            println!("{name}: {answer}");
            continue;
        }
        let text = String::from_utf8(octets).with_context(|| format!("{name} is not in UTF-8"))?;
        let dump = import::read(&args.provider, &text, args.reason).with_context(|| name.clone())?;
        if !dump.suppressions.is_empty() {
            let answer = api.suppress(csv_of(&dump.suppressions)?, None).await?;
            println!("{name}: {answer}");
        }
        for template in &dump.templates {
            let told = api.template(template).await?;
            println!("{name}: template {}: {told}", template["alias"]);
            whole &= told != "refused";
        }
        for [alias, tag] in &dump.foreign {
            println!("{name}: template {alias:?}: {tag} cannot be said here: write it anew");
            whole = false;
        }
        for domain in &dump.domains {
            let told = api.domain(domain).await?;
            println!("{name}: domain {domain}: {told}");
        }
        for key in &dump.keys {
            let told = api.domain_key(key).await?;
            println!("{name}: key {} of {}: {told}", key.selector, key.domain);
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

    /// A key in a file of its own. False: it is not known whose, or was refused.
    async fn key_file(&self, path: &Path, pem: &[u8]) -> Result<bool> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pem = std::str::from_utf8(pem).with_context(|| format!("{name} is not in UTF-8"))?;
        let Some(key) = import::key_of_file(&name, pem) else {
            println!("{name}: whose key is it? Call the file as its record: SELECTOR._domainkey.DOMAIN.pem");
            return Ok(false);
        };
        let told = self.domain_key(&key).await?;
        println!("{name}: key {} of {}: {told}", key.selector, key.domain);
        Ok(told != "refused")
    }

    /// A domain's id here, if it is there.
    async fn domain_id(&self, domain: &str) -> Result<Option<String>> {
        let mut cursor = String::new();
        loop {
            let url = format!("{}/v1/domains?limit=100{cursor}", self.url);
            let (status, body) = self.ask(self.client.get(url)).await?;
            if status != 200 {
                bail!("{}", body["detail"].as_str().unwrap_or("the domains were refused"));
            }
            let list = body["data"].as_array().into_iter().flatten();
            let found = list.filter(|one| one["name"] == domain).find_map(|one| one["id"].as_str());
            if let Some(id) = found {
                return Ok(Some(id.to_owned()));
            }
            match body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(None),
            }
        }
    }

    /// Made, unless it is there.
    async fn domain(&self, domain: &str) -> Result<&'static str> {
        if self.domain_id(domain).await?.is_some() {
            return Ok("known");
        }
        let body = serde_json::json!({ "name": domain });
        let (status, body) =
            self.ask(self.client.post(format!("{}/v1/domains", self.url)).json(&body)).await?;
        if status == 201 {
            return Ok("made; publish its records, then verify it");
        }
        eprintln!("{}", body["detail"].as_str().unwrap_or_default());
        Ok("refused")
    }

    /// The key signs once its record is found, which it is if it is the one that is published.
    async fn domain_key(&self, key: &import::Key) -> Result<&'static str> {
        self.domain(&key.domain).await?;
        let Some(id) = self.domain_id(&key.domain).await? else { return Ok("refused") };
        let body = serde_json::json!({ "selector": key.selector, "private_key": key.private });
        let url = format!("{}/v1/domains/{id}/keys", self.url);
        let (status, body) = self.ask(self.client.post(url).json(&body)).await?;
        if status == 201 {
            return Ok("brought along; it signs once its record is found");
        }
        if body["errors"][0]["code"] == "selector_taken" {
            return Ok("known");
        }
        eprintln!("{}", body["detail"].as_str().unwrap_or_default());
        Ok("refused")
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

//! Looks a domain's records up. Holds no transaction and changes nothing.

use std::time::Duration;

use futures_util::future::join_all;

use crate::dns::{LookupError, Mx, Resolver};
use crate::domain::identity::judge::{self, Finding};
use crate::domain::identity::records::{Places, Purpose, Record, RecordType};
use crate::domain::identity::self_and_above;

/// Callers of the API are answered within five seconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// All of them at once, each asked for anew, and each within its time.
pub(super) async fn look_up(dns: &Resolver, records: Vec<Record>, places: &Places) -> Vec<(Record, Finding)> {
    let dns = dns.fresh();
    let one = async |record: Record| {
        let looked = tokio::time::timeout(PATIENCE, find(&dns, &record, places)).await;
        let found = match looked {
            Ok(Ok(found)) => found,
            Ok(Err(LookupError::NotFound(_))) => Finding::missing(&record),
            Ok(Err(LookupError::Temporary(trouble))) => Finding::unknown(&record, &trouble),
            Err(_) => Finding::unknown(&record, "it took too long"),
        };
        (record, found)
    };
    join_all(records.into_iter().map(one)).await
}

async fn find(dns: &Resolver, record: &Record, places: &Places) -> Result<Finding, LookupError> {
    let name = &record.name;
    match (record.purpose, record.kind) {
        (Purpose::Dkim, _) => Ok(judge::dkim(record, dns.txt(name).await?.records)),
        (Purpose::Spf, _) => Ok(judge::spf(record, dns.txt(name).await?.records)),
        (Purpose::Dmarc, _) => dmarc(dns, record).await,
        (Purpose::ReturnPath, RecordType::Cname) => return_path(dns, record, places).await,
        (_, RecordType::Cname) => Ok(judge::cname(record, alias(dns, name).await?)),
        (_, RecordType::Mx) => Ok(judge::mx(record, &hosts(dns.mx(name).await?.records))),
        (_, RecordType::Txt) => Err(LookupError::Temporary("nobody knows what to look for".to_owned())),
    }
}

async fn alias(dns: &Resolver, name: &str) -> Result<String, LookupError> {
    Ok(dns.cname(name).await?.records.into_iter().next().unwrap_or_default())
}

fn hosts(records: Vec<Mx>) -> Vec<(u16, String)> {
    records.into_iter().map(|mx| (mx.preference, mx.host)).collect()
}

/// The alias that is asked for, or an MX and an SPF record that do the same.
async fn return_path(dns: &Resolver, record: &Record, places: &Places) -> Result<Finding, LookupError> {
    match alias(dns, &record.name).await {
        Ok(target) => return Ok(judge::cname(record, target)),
        Err(LookupError::NotFound(_)) => {}
        Err(trouble) => return Err(trouble),
    }
    let exchangers =
        hosts(present(dns.mx(&record.name).await)?.map(|answer| answer.records).unwrap_or_default());
    let texts = present(dns.txt(&record.name).await)?.map(|answer| answer.records).unwrap_or_default();
    if exchangers.is_empty() && texts.is_empty() {
        return Ok(Finding::missing(record));
    }
    let is_ours = exchangers.iter().any(|(_, host)| host.eq_ignore_ascii_case(&places.host));
    let found = exchangers
        .iter()
        .map(|(preference, host)| format!("{preference} {host}"))
        .chain(texts.clone())
        .collect();
    if is_ours && judge::has_our_spf(&texts, &places.bounce, &places.host) {
        return Ok(Finding::ok(found));
    }
    let advice = format!(
        "{} is no alias of {}. Publish the CNAME given here; or, instead of it, an MX record for {} and a TXT record \"v=spf1 include:{} -all\".",
        record.name, record.value, places.host, places.bounce
    );
    Ok(Finding::mismatch(found, advice))
}

/// What is not there is none; what nobody knows is trouble.
fn present<T>(looked: Result<T, LookupError>) -> Result<Option<T>, LookupError> {
    match looked {
        Ok(answer) => Ok(Some(answer)),
        Err(LookupError::NotFound(_)) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

/// The policy of the name itself, or of the nearest domain above it that has one (RFC 9989's tree walk).
async fn dmarc(dns: &Resolver, record: &Record) -> Result<Finding, LookupError> {
    let domain = record.name.trim_start_matches("_dmarc.");
    for name in self_and_above(domain) {
        let Some(answer) = present(dns.txt(&format!("_dmarc.{name}")).await)? else { continue };
        let found = judge::dmarc(record, answer.records);
        if !found.found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Finding::missing(record))
}

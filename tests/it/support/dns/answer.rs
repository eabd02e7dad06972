//! What is answered: the records, through aliases, or that there are none, or what goes wrong.

use std::sync::Mutex;

use hickory_resolver::proto::op::{Edns, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::SOA;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::{Asked, Fault, Over, Zones};

/// The answer as octets; `None`: silence.
pub(super) async fn answer(zones: &Mutex<Zones>, question: &Message, over: Over) -> Option<Vec<u8>> {
    let query = question.queries.first()?.clone();
    let faults = {
        let mut zones = zones.lock().expect("nobody panics with it");
        zones.asked.push(asked(&query, over));
        zones.faults_of(query.name())
    };
    let mut response = Message::response(question.metadata.id, question.metadata.op_code);
    response.metadata.recursion_desired = question.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_query(query.clone());
    if question.edns.is_some() && !faults.contains(&Fault::NoEdns) {
        let mut edns = Edns::new();
        edns.set_max_payload(1232).set_version(0);
        response.set_edns(edns);
    }
    for fault in faults {
        match fault {
            Fault::Drop => return None,
            Fault::Delay(wait) => tokio::time::sleep(wait).await,
            Fault::ServFail => return failure(response, ResponseCode::ServFail),
            Fault::Refused => return failure(response, ResponseCode::Refused),
            Fault::NoEdns if question.edns.is_some() => return failure(response, ResponseCode::FormErr),
            Fault::NoEdns => {}
            Fault::TruncateUdp if over == Over::Tcp => {}
            Fault::Truncate | Fault::TruncateUdp => {
                response.metadata.truncation = true;
                return octets(&response);
            }
        }
    }
    let wants_proof = question.metadata.authentic_data || question.edns.as_ref().is_some_and(wants_dnssec);
    zones.lock().expect("nobody panics with it").fill(&mut response, &query, wants_proof);
    let room = match &question.edns {
        Some(edns) => usize::from(edns.max_payload()),
        None => 512,
    };
    let whole = octets(&response)?;
    if over == Over::Udp && whole.len() > room {
        // RFC 2181 §9: what does not fit is asked for again, over TCP.
        response.answers.clear();
        response.metadata.truncation = true;
        return octets(&response);
    }
    Some(whole)
}

fn wants_dnssec(edns: &Edns) -> bool {
    edns.flags().dnssec_ok
}

fn asked(query: &Query, over: Over) -> Asked {
    let text = query.name().to_lowercase().to_ascii();
    Asked { name: text.trim_end_matches('.').to_owned(), kind: query.query_type(), over }
}

fn failure(mut response: Message, code: ResponseCode) -> Option<Vec<u8>> {
    response.metadata.response_code = code;
    octets(&response)
}

fn octets(response: &Message) -> Option<Vec<u8>> {
    Some(response.to_vec().expect("a message can be written"))
}

impl Zones {
    fn faults_of(&self, name: &Name) -> Vec<Fault> {
        let of = |(zone, fault): &(Name, Fault)| zone.zone_of(name).then_some(*fault);
        self.faults.iter().filter_map(of).collect()
    }

    fn fill(&self, response: &mut Message, query: &Query, wants_proof: bool) {
        let mut name = query.name().to_lowercase();
        let mut signed = true;
        // A loop of aliases is given as far as this.
        for _ in 0..10 {
            signed &= self.signed.iter().any(|zone| zone.zone_of(&name));
            let own = self.records.get(&name).map(Vec::as_slice).unwrap_or_default();
            let wanted: Vec<_> = own.iter().filter(|data| data.record_type() == query.query_type()).collect();
            for data in &wanted {
                response.add_answer(Record::from_rdata(name.clone(), self.ttl, (*data).clone()));
            }
            let alias = own.iter().find_map(|data| match data {
                RData::CNAME(target) => Some(target.0.clone()),
                _ => None,
            });
            let Some(target) = alias.filter(|_| wanted.is_empty()) else {
                if wanted.is_empty() {
                    self.deny(response, &name);
                }
                break;
            };
            let alias = RData::CNAME(hickory_resolver::proto::rr::rdata::CNAME(target.clone()));
            response.add_answer(Record::from_rdata(name, self.ttl, alias));
            name = target.to_lowercase();
        }
        response.metadata.authentic_data = signed && wants_proof;
    }

    /// RFC 2308: the SOA tells how long an absence may be believed.
    fn deny(&self, response: &mut Message, name: &Name) {
        let exists = self.records.keys().any(|known| name.zone_of(known));
        if !exists {
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        let seconds = self.ttl.try_into().expect("a short time");
        let soa = SOA::new(Name::root(), Name::root(), 1, seconds, seconds, seconds, self.ttl);
        response.add_authority(Record::from_rdata(Name::root(), self.ttl, RData::SOA(soa)));
    }
}

/// Every kind of record has its name in the questions that are remembered.
#[test]
fn questions_are_remembered_by_name_and_kind() {
    let name = Name::from_ascii("MX.Example.").expect("a name");
    let remembered = asked(&Query::query(name, RecordType::MX), Over::Udp);
    assert_eq!(remembered, Asked { name: "mx.example".to_owned(), kind: RecordType::MX, over: Over::Udp });
}

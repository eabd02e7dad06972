//! The way to a certificate authority: the HTTP that `instant-acme` is given. The operator says where it is, so that
//! there is no guard; answers are short, and waited for shortly.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use reqwest::{Certificate, Client};

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most that is read of an answer: chains have some kilobytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// A certificate authority. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authority {
    client: Client,
    directory: String,
}

impl Authority {
    /// The authority with this directory (RFC 8555 §7.1.1), whose own certificate may be of one of these roots, too.
    ///
    /// # Errors
    /// The HTTP client cannot be built, or a root cannot be read.
    pub fn new(directory: &str, roots: &[Vec<u8>]) -> Result<Authority, reqwest::Error> {
        let roots: Result<Vec<Certificate>, _> = roots.iter().map(|der| Certificate::from_der(der)).collect();
        let client = Client::builder()
            .user_agent(concat!("postroad/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(roots?)
            .timeout(TIMEOUT)
            .build()?;
        Ok(Authority { client, directory: directory.to_owned() })
    }

    /// The URL by which it is known.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    async fn exchange(self, request: http::Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let other = |error: reqwest::Error| Error::Other(Box::new(error));
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_or_else(|never| match never {}, |body| body.to_bytes());
        let asked =
            self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        let mut answer = asked.send().await.map_err(other)?;
        let mut response = http::Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        let mut octets = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(other)? {
            octets.extend_from_slice(&chunk);
            if octets.len() > ANSWER_LIMIT {
                return Err(Error::Str("the answer is too long"));
            }
        }
        let (parts, ()) = response.into_parts();
        Ok(BytesResponse { parts, body: Box::new(Bytes::from(octets)) })
    }
}

impl HttpClient for Authority {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}

//! The dashboard's files: compiled in, compressed once, and served under names that hold their hash, so that
//! browsers may keep them for ever.

use std::io::Write;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::http::error::Problem;
use crate::http::extract::Path;

/// Where each file is.
#[derive(Debug)]
pub struct Paths {
    /// Our style.
    pub css: String,
    /// Our script.
    pub js: String,
    /// htmx.
    pub htmx: String,
    /// uPlot, which draws charts.
    pub uplot: String,
    /// Its style.
    pub uplot_css: String,
    /// The tab's picture.
    pub icon: String,
}

struct File {
    name: String,
    content_type: &'static str,
    plain: &'static [u8],
    gzip: Vec<u8>,
}

struct Assets {
    files: Vec<File>,
    paths: Paths,
}

/// Where each file is.
pub fn paths() -> &'static Paths {
    &assets().paths
}

/// `GET /ui/assets/{name}`.
pub async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let file = assets().files.iter().find(|file| file.name == name);
    let file = file.ok_or_else(|| Problem::not_found("file"))?;
    let fixed = [
        (header::CONTENT_TYPE, file.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    if accepted.is_some_and(|codings| codings.split(',').any(|coding| coding.trim().starts_with("gzip"))) {
        let coding = [(header::CONTENT_ENCODING, "gzip")];
        return Ok((StatusCode::OK, fixed, coding, file.gzip.clone()).into_response());
    }
    Ok((StatusCode::OK, fixed, file.plain).into_response())
}

fn assets() -> &'static Assets {
    static ASSETS: OnceLock<Assets> = OnceLock::new();
    ASSETS.get_or_init(|| {
        let mut files = Vec::new();
        let mut add = |stem: &str, end: &str, content_type, plain: &'static [u8]| {
            let hash = HEXLOWER.encode(&digest(&SHA256, plain).as_ref()[..8]);
            let name = format!("{stem}-{hash}.{end}");
            let path = format!("/ui/assets/{name}");
            files.push(File { name, content_type, plain, gzip: gzip(plain) });
            path
        };
        let (script, style) = ("text/javascript; charset=utf-8", "text/css; charset=utf-8");
        let paths = Paths {
            css: add("ui", "css", style, include_bytes!("../../../assets/ui/ui.css")),
            js: add("ui", "js", script, include_bytes!("../../../assets/ui/ui.js")),
            htmx: add("htmx", "js", script, include_bytes!("../../../assets/ui/vendor/htmx-2.0.11.min.js")),
            uplot: add(
                "uplot",
                "js",
                script,
                include_bytes!("../../../assets/ui/vendor/uplot-1.6.32.min.js"),
            ),
            uplot_css: add(
                "uplot",
                "css",
                style,
                include_bytes!("../../../assets/ui/vendor/uplot-1.6.32.min.css"),
            ),
            icon: add("icon", "svg", "image/svg+xml", include_bytes!("../../../assets/ui/icon.svg")),
        };
        Assets { files, paths }
    })
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default()
}

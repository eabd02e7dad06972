//! Forms: `application/x-www-form-urlencoded`, and `multipart/form-data` (RFC 7578), which some clients use even
//! without files. Names may repeat, and their order stays.

use std::convert::Infallible;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use futures_util::stream;
use multer::Multipart;

use crate::http::error::{Kind, Problem};
use crate::http::extract;

/// The most entries of a form.
const MAX_ENTRIES: usize = 20_000;

/// A form, read.
#[derive(Debug, Default)]
pub struct Form {
    texts: Vec<(String, String)>,
    files: Vec<FormFile>,
}

/// A file of a form.
#[derive(Debug)]
pub struct FormFile {
    /// Of which entry.
    pub field: String,
    /// Its own name; empty: none was given.
    pub name: String,
    /// Its type, if one was given.
    pub kind: Option<String>,
    /// What is in it.
    pub content: Bytes,
}

impl Form {
    /// Reads a body of either form.
    ///
    /// # Errors
    /// It is neither.
    pub async fn read(headers: &HeaderMap, body: Bytes) -> Result<Form, Problem> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if extract::media_type(headers).as_deref() == Some("multipart/form-data") {
            let boundary =
                multer::parse_boundary(content_type.unwrap_or_default()).map_err(|_| unreadable())?;
            return Form::multipart(body, boundary).await;
        }
        let mut form = Form::default();
        for (name, value) in url::form_urlencoded::parse(&body) {
            form.add(name.into_owned(), value.into_owned())?;
        }
        Ok(form)
    }

    async fn multipart(body: Bytes, boundary: String) -> Result<Form, Problem> {
        let body = stream::iter([Ok::<_, Infallible>(body)]);
        let mut parts = Multipart::new(body, boundary);
        let mut form = Form::default();
        while let Some(part) = parts.next_field().await.map_err(|_| unreadable())? {
            let field = part.name().unwrap_or_default().to_owned();
            let file = part.file_name().map(str::to_owned);
            let kind = part.content_type().map(ToString::to_string);
            let content = part.bytes().await.map_err(|_| unreadable())?;
            match file {
                Some(name) => form.files.push(FormFile { field, name, kind, content }),
                None => {
                    let text = String::from_utf8(content.into()).map_err(|_| unreadable())?;
                    form.add(field, text)?;
                }
            }
        }
        Ok(form)
    }

    fn add(&mut self, name: String, value: String) -> Result<(), Problem> {
        if value.contains('\0') || self.texts.len() >= MAX_ENTRIES {
            return Err(unreadable());
        }
        self.texts.push((name, value));
        Ok(())
    }

    /// The values of a name, in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.texts.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The last value of a name; an empty one is as good as none.
    pub fn one(&self, name: &str) -> Option<&str> {
        let found = self.texts.iter().rev().find(|(own, value)| own == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// What is named with a prefix, without it.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// The files of a name.
    pub fn files<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a FormFile> {
        self.files.iter().filter(move |file| file.field == field)
    }
}

fn unreadable() -> Problem {
    Problem::new(Kind::InvalidRequest, "the form cannot be read")
}

//! What can be wrong with a template, and where.

use super::Part;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// In which part.
    pub part: Part,
    /// In which of its partials; `None`: in the template itself.
    pub partial: Option<String>,
    /// Line and column, from 1, if they are known.
    pub place: Option<(usize, usize)>,
    /// What.
    pub trouble: Trouble,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It cannot be read.
    #[error("{0}")]
    Syntax(String),
    /// A variable that is needed and not given, as the names that lead to it.
    #[error("the variable {} is missing", .0.join("."))]
    Missing(Vec<String>),
    /// A helper that nobody knows.
    #[error("there is no helper {0}")]
    UnknownHelper(String),
    /// A partial that is not there, or lacks this part.
    #[error("there is no partial {0} for this part")]
    UnknownPartial(String),
    /// A partial that includes itself.
    #[error("the partial {0} includes itself")]
    Recursion(String),
    /// A helper that was given what it cannot use.
    #[error("{0}")]
    Helper(String),
    /// It is, or becomes, too large.
    #[error("{0}")]
    TooLarge(String),
    /// It is too deep, or would run for too long.
    #[error("{0}")]
    TooComplex(String),
    /// MJML or HTML that is none.
    #[error("{0}")]
    Markup(String),
}

impl Trouble {
    /// For programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Trouble::Syntax(_) => "invalid_template",
            Trouble::Missing(_) => "missing_variable",
            Trouble::UnknownHelper(_) => "unknown_helper",
            Trouble::UnknownPartial(_) => "unknown_partial",
            Trouble::Recursion(_) => "recursive_partial",
            Trouble::Helper(_) => "invalid_argument",
            Trouble::TooLarge(_) => "too_large",
            Trouble::TooComplex(_) => "too_complex",
            Trouble::Markup(_) => "invalid_markup",
        }
    }
}

impl Fault {
    /// Something wrong with a part as a whole.
    pub fn of(part: Part, trouble: Trouble) -> Fault {
        Fault { part, partial: None, place: None, trouble }
    }

    /// What is wrong and where, in a sentence.
    pub fn sentence(&self) -> String {
        let mut sentence = self.trouble.to_string();
        if let Some(partial) = &self.partial {
            sentence.push_str(&format!(", in the partial {partial}"));
        }
        if let Some((line, column)) = self.place {
            sentence.push_str(&format!(", at line {line}, column {column}"));
        }
        sentence
    }
}

/// Each missing variable once, however many parts and places need it.
pub(super) fn distinct(faults: Vec<Fault>) -> Vec<Fault> {
    let mut kept: Vec<Fault> = Vec::new();
    for fault in faults {
        let is_known = matches!(fault.trouble, Trouble::Missing(_))
            && kept.iter().any(|known| known.trouble == fault.trouble);
        if !is_known {
            kept.push(fault);
        }
    }
    kept
}

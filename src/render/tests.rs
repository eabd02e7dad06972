use serde_json::json;

use super::limits::{MAX_DEPTH, MAX_OUTPUT, MAX_SOURCE};
use super::*;

fn bodies(parts: &[(Part, &str)]) -> Bodies {
    let mut bodies = Bodies::default();
    for (part, source) in parts {
        *bodies.get_mut(*part) = Some((*source).to_owned());
    }
    bodies
}

fn source(parts: &[(Part, &str)]) -> Source {
    Source { bodies: bodies(parts), partials: BTreeMap::new() }
}

fn compiled(parts: &[(Part, &str)]) -> Compiled {
    Compiled::new(&source(parts)).expect("a template")
}

fn variables(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("no object: {other}"),
    }
}

/// The text of a template that has only that.
fn text(template: &str, given: Value) -> String {
    let rendered = compiled(&[(Part::Text, template)]).render(&variables(given));
    rendered.unwrap_or_else(|faults| panic!("{template}: {faults:?}")).text.expect("a text")
}

/// What stops a template of one part, by its codes and sentences.
fn stopped(part: Part, template: &str, given: Value) -> Vec<(&'static str, String)> {
    let faults = match Compiled::new(&source(&[(part, template)])) {
        Ok(compiled) => compiled.render(&variables(given)).expect_err(template),
        Err(faults) => faults,
    };
    faults.into_iter().map(|fault| (fault.trouble.code(), fault.sentence())).collect()
}

#[test]
fn html_is_escaped_and_subject_and_text_are_not() {
    let parts =
        [(Part::Subject, "Hi {{n}}"), (Part::Text, "Hi {{n}}"), (Part::Html, "<p>{{n}} {{{n}}} {{&n}}</p>")];
    let rendered = compiled(&parts).render(&variables(json!({ "n": "<b> & \"Ann\"" }))).expect("rendered");
    assert_eq!(
        rendered,
        Rendered {
            subject: "Hi <b> & \"Ann\"".into(),
            text: Some("Hi <b> & \"Ann\"".into()),
            html: Some("<p>&lt;b&gt; &amp; &quot;Ann&quot; <b> & \"Ann\" <b> & \"Ann\"</p>".into()),
            amp: None,
        }
    );
}

#[test]
fn helpers_do_what_they_say() {
    for (template, given, wanted) in [
        ("{{#if a}}y{{else}}n{{/if}}{{#unless b}}u{{/unless}}", json!({ "a": 1 }), "yu"),
        (
            "{{#each l}}{{@index}}{{this}}{{#unless @last}},{{/unless}}{{/each}}",
            json!({ "l": ["a", "b"] }),
            "0a,1b",
        ),
        ("{{#each l}}x{{else}}none{{/each}}", json!({}), "none"),
        ("{{#each o as |v k|}}{{k}}={{v.x}};{{/each}}", json!({ "o": { "a": { "x": 1 } } }), "a=1;"),
        (
            "{{#with u}}{{name}} {{../greeting}}{{/with}}",
            json!({ "u": { "name": "Ann" }, "greeting": "hi" }),
            "Ann hi",
        ),
        (
            "{{default nick name \"you\"}} {{default nick \"you\"}}",
            json!({ "name": "Ann", "nick": "" }),
            "Ann you",
        ),
        ("{{uppercase s}} {{lowercase s}} {{capitalize s}}", json!({ "s": "éa B" }), "ÉA B éa b Éa B"),
        ("{{number n}} {{number n decimals=2}}", json!({ "n": 1_234_567.891 }), "1,234,568 1,234,567.89"),
        ("{{currency n thousands=\".\" decimal=\",\"}} €", json!({ "n": "-1234.5" }), "-1.234,50 €"),
        ("{{number n decimals=1}}", json!({ "n": -0.01 }), "0.0"),
        ("{{n}} {{plural n \"item\" \"items\"}}", json!({ "n": 1 }), "1 item"),
        (
            "{{plural l \"nothing\" \"one\" \"many\"}}{{plural 0 \"nothing\" \"one\" \"many\"}}",
            json!({ "l": [1, 2] }),
            "manynothing",
        ),
        (
            "{{date d \"%d.%m.%Y %H:%M\" offset=\"+01:00\"}}",
            json!({ "d": "2026-11-24T23:30:00Z" }),
            "25.11.2026 00:30",
        ),
        ("{{date d}} {{date 0 \"%A\"}}", json!({ "d": "2026-11-24" }), "2026-11-24 Thursday"),
        ("{{join l \", \" last=\" and \"}}", json!({ "l": ["a", "b", 3] }), "a, b and 3"),
        ("{{truncate s 5}} {{truncate s 50}}", json!({ "s": "äbcdefgh" }), "äbcd… äbcdefgh"),
        ("{{urlencode s}}", json!({ "s": "a b&c" }), "a%20b%26c"),
        ("{{concat a \"-\" (uppercase b)}}", json!({ "a": 1, "b": "x" }), "1-X"),
        ("{{date}} {{number}}", json!({ "date": "today", "number": 7 }), "today 7"),
        (
            "{{#if (eq plan \"pro\")}}P{{else if (gt seats 5)}}S{{else}}F{{/if}}",
            json!({ "plan": "x", "seats": 6 }),
            "S",
        ),
        ("\\{{literal}} {{! comment }}{{!-- }} --}}x", json!({}), "{{literal}} x"),
        ("{{lookup m k}}", json!({ "m": { "a": 1 }, "k": "a" }), "1"),
        ("a\n  {{#if true}}\n  b\n  {{/if}}\nc", json!({}), "a\n  b\nc"),
    ] {
        assert_eq!(text(template, given), wanted, "{template}");
    }
}

#[test]
fn every_missing_variable_is_named_by_its_path_once_and_together() {
    let parts = [
        (Part::Subject, "{{name}} {{order.id}}"),
        (
            Part::Text,
            "{{name}} {{#each items}}{{title}} {{uppercase price}} {{../shop}}{{/each}} {{#if maybe}}x{{/if}}\
             {{#with who}}x{{/with}} {{#each others}}x{{/each}} {{default nick \"x\"}} {{this.that}}\
             {{#each items as |item|}}{{item.color}}{{/each}}",
        ),
    ];
    let given = variables(json!({ "items": [{ "title": "a" }, { "price": "1" }], "order": {} }));
    let faults = compiled(&parts).fill(&given).expect_err("much is missing");
    let missing: Vec<String> = faults
        .iter()
        .map(|fault| match &fault.trouble {
            Trouble::Missing(path) => path.join("/"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        missing,
        [
            "name",
            "order/id",
            "items/0/price",
            "shop",
            "items/1/title",
            "who",
            "others",
            "that",
            "items/0/color",
            "items/1/color",
        ]
    );
}

#[test]
fn a_variable_that_is_null_or_false_is_there() {
    assert_eq!(text("[{{a}}][{{b}}][{{c}}]", json!({ "a": null, "b": false, "c": "" })), "[][false][]");
}

#[test]
fn what_cannot_be_understood_is_told_with_its_place() {
    for (template, code, sentence) in [
        ("a\n{{#if x}}b", "invalid_template", "line 2"),
        ("a\nb {{foo bar}}", "unknown_helper", "there is no helper foo, at line 2, column 3"),
        ("{{#foo}}x{{/foo}}", "unknown_helper", "there is no helper foo, at line 1, column 1"),
        ("{{#if (foo 1)}}x{{/if}}", "unknown_helper", "there is no helper foo"),
        ("{{log \"x\"}}", "unknown_helper", "there is no helper log"),
        (
            "{{> nowhere}}",
            "unknown_partial",
            "there is no partial nowhere for this part, at line 1, column 1",
        ),
        ("{{> (lookup a b)}}", "invalid_template", "named, not computed"),
        ("{{#> p}}x{{/p}}", "invalid_template", "not available"),
        ("{{#*inline \"p\"}}x{{/inline}}", "invalid_template", "not available"),
        ("{{*dec x}}", "invalid_template", "not available"),
        ("{{{{raw}}}}x{{{{/raw}}}}", "invalid_template", "raw blocks"),
        (
            "x\n{{plural 1 \"a\"}}",
            "invalid_argument",
            "plural: two forms are needed, or three with one for nothing at all, at line 2, column 1",
        ),
        ("{{date n}}", "invalid_argument", "a time is needed"),
        ("{{date 0 \"%Q\"}}", "invalid_argument", "the format"),
        ("{{uppercase l}}", "invalid_argument", "not a list or an object"),
    ] {
        let found = stopped(Part::Text, template, json!({ "n": "soon", "l": [] }));
        assert_eq!(found.len(), 1, "{template}: {found:?}");
        assert!(found[0].0 == code && found[0].1.contains(sentence), "{template}: {found:?}");
    }
}

#[test]
fn partials_stand_for_their_part_of_the_same_kind_and_never_for_themselves() {
    let partial = |parts: &[(Part, &str)]| bodies(parts);
    let mut given = source(&[
        (Part::Subject, "{{> sign}}"),
        (Part::Text, "{{> foot by=name}}"),
        (Part::Html, "{{> foot by=name}}"),
    ]);
    given.partials = BTreeMap::from([
        (
            "foot".to_owned(),
            partial(&[(Part::Text, "-- {{by}} {{> sign}}"), (Part::Html, "<hr>{{by}} {{> sign}}")]),
        ),
        ("sign".to_owned(), partial(&[(Part::Text, "Acme {{year}}"), (Part::Html, "<i>{{year}}</i>")])),
    ]);
    let compiled = Compiled::new(&given).expect("a template");
    let rendered = compiled.render(&variables(json!({ "name": "<A>", "year": 2026 }))).expect("rendered");
    assert_eq!(rendered.subject, "Acme 2026");
    assert_eq!(rendered.text.as_deref(), Some("-- <A> Acme 2026"));
    assert_eq!(rendered.html.as_deref(), Some("<hr>&lt;A&gt; <i>2026</i>"));
    let missing = compiled.fill(&variables(json!({ "name": "x" }))).expect_err("no year");
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!(missing[0].trouble, Trouble::Missing(vec!["year".into()]));

    given.partials.insert("sign".to_owned(), partial(&[(Part::Text, "{{> foot by=1}}"), (Part::Html, "x")]));
    let faults = Compiled::new(&given).expect_err("a circle");
    assert!(faults.iter().all(|fault| fault.trouble.code() == "recursive_partial"), "{faults:?}");
    given.partials.insert("sign".to_owned(), partial(&[(Part::Text, "a\n{{bad bad}}")]));
    let faults = Compiled::new(&given).expect_err("no HTML, and an unknown helper");
    let mut told: Vec<_> = faults.iter().map(Fault::sentence).collect();
    told.dedup();
    assert_eq!(
        told,
        [
            "there is no helper bad, in the partial sign, at line 2, column 1",
            "there is no partial sign for this part, in the partial foot, at line 1, column 12"
        ]
    );
}

#[test]
fn nothing_runs_for_long_or_grows_without_bound() {
    let list: Vec<u32> = (0..1000).collect();
    let nested = "{{#each @root.l}}".repeat(3) + &"{{/each}}".repeat(3);
    for (template, code) in [
        (nested.as_str(), "too_complex"),
        ("{{#each l}}{{#each ../l}}0123456789{{/each}}{{/each}}", "too_large"),
        (&"{{#if a}}".repeat(MAX_DEPTH + 1), "invalid_template"),
        (&"x".repeat(MAX_SOURCE + 1), "too_large"),
        (&format!("{{{{uppercase {}a{}}}}}", "(uppercase ".repeat(40), ")".repeat(40)), "invalid_template"),
        (&"(".repeat(100_000).replace('(', "{{(a "), "invalid_template"),
    ] {
        let found = stopped(Part::Text, template, json!({ "l": list, "a": true }));
        assert_eq!(found[0].0, code, "{}: {found:?}", &template[..template.len().min(80)]);
    }
    // Partials that include two each, and so on: a thousand million, if they were run.
    let mut laughs = source(&[(Part::Text, "{{> p0}}")]);
    for level in 0..30 {
        let next = format!("{{{{> p{0}}}}}{{{{> p{0}}}}}", level + 1);
        laughs.partials.insert(format!("p{level}"), bodies(&[(Part::Text, next.as_str())]));
    }
    laughs.partials.insert("p30".into(), bodies(&[(Part::Text, "")]));
    let faults = Compiled::new(&laughs).expect_err("too many");
    assert_eq!(faults[0].trouble.code(), "too_complex", "{faults:?}");
}

#[test]
fn what_is_as_deep_as_allowed_is_rendered_on_an_ordinary_stack() {
    let blocks = "{{#if a}}".repeat(MAX_DEPTH) + "x" + &"{{/if}}".repeat(MAX_DEPTH);
    assert_eq!(text(&blocks, json!({ "a": true })), "x");
    let markup = "<div>".repeat(limits::MAX_ELEMENTS_DEPTH) + "{{a}}";
    let html = compiled(&[(Part::Html, &format!("<style>div {{color: red}}</style>{markup}"))]);
    let rendered = html.render(&variables(json!({ "a": "deep" }))).expect("rendered");
    assert_eq!(rendered.text.as_deref(), Some("deep\n"));
    assert!(rendered.html.expect("HTML").contains("color: red"));
    let mjml = format!(
        "<mjml><mj-body><mj-section><mj-column><mj-text>{}x</mj-text></mj-column></mj-section></mj-body></mjml>",
        "<div>".repeat(150) + &"</div>".repeat(0)
    );
    // Whether it is well formed or not, it is answered.
    let _ = compiled(&[(Part::Mjml, &mjml)]).render(&Map::new());
}

#[test]
fn css_comes_to_its_elements_and_nothing_is_fetched() {
    let html = "<html><head><style>.a { color: red } @media print { .a { color: black } }</style>\
                <link rel=\"stylesheet\" href=\"http://127.0.0.1:9/x.css\"></head><body><p class=\"a\">{{n}}</p></body></html>";
    let rendered =
        compiled(&[(Part::Html, html)]).render(&variables(json!({ "n": "Ann" }))).expect("rendered");
    let html = rendered.html.expect("HTML");
    assert!(html.contains("style=\"color: red;\""), "{html}");
    assert!(html.contains("@media print") && html.contains("x.css"), "{html}");
    assert_eq!(rendered.text.as_deref(), Some("Ann\n"));
}

#[test]
fn html_without_styles_stays_as_it_is() {
    let html = "<P CLASS=a>hi<br>{{n}}";
    let rendered = compiled(&[(Part::Html, html)]).render(&variables(json!({ "n": 1 }))).expect("rendered");
    assert_eq!(rendered.html.as_deref(), Some("<P CLASS=a>hi<br>1"));
}

#[test]
fn the_text_made_of_html_shows_links_and_lists() {
    let html = "<table><tr><td><h1>Hello</h1><p>See <a href=\"https://acme.example/x\">this</a>.</p>\
                <ul><li>one</li><li>two</li></ul></td></tr></table>";
    let rendered = compiled(&[(Part::Html, html)]).render(&Map::new()).expect("rendered");
    let text = rendered.text.expect("a text");
    for wanted in ["Hello", "https://acme.example/x", "* one\n* two"] {
        assert!(text.contains(wanted), "{text}");
    }
    assert!(!text.contains('│') && !text.contains('─'), "{text}");
}

const MJML: &str = "<mjml><mj-head><mj-style inline=\"inline\">.big div { font-size: 33px !important }</mj-style></mj-head>\
    <mj-body><mj-section><mj-column>{{#each items}}<mj-text css-class=\"big\">{{this}}</mj-text>{{/each}}\
    <mj-button href=\"https://acme.example/\">Go</mj-button></mj-column></mj-section></mj-body></mjml>";

#[test]
fn mjml_becomes_html_with_its_inline_styles_and_a_text() {
    let compiled = compiled(&[(Part::Mjml, MJML)]);
    let given = variables(json!({ "items": ["one", "<two>"] }));
    let rendered = compiled.render(&given).expect("rendered");
    let html = rendered.html.clone().expect("HTML");
    assert!(
        html.starts_with("<!") && html.contains("&lt;two&gt;") && html.contains("font-size: 33px"),
        "{html}"
    );
    let text = rendered.text.clone().expect("a text");
    assert!(text.contains("<two>") && text.contains("https://acme.example/"), "{text}");
    for _ in 0..5 {
        assert_eq!(compiled.render(&given).expect("rendered"), rendered, "always the same octets");
    }
}

#[test]
fn what_is_no_mjml_is_told_with_its_place() {
    let found = stopped(Part::Mjml, "<mjml>\n<nonsense/></mjml>", json!({}));
    assert_eq!(found[0].0, "invalid_markup", "{found:?}");
    assert!(found[0].1.contains("line 2"), "{found:?}");
    for other in ["", "<p>plain</p>", "<mjml><mj-include path=\"/etc/passwd\"/></mjml>", "<mjml>"] {
        assert_eq!(stopped(Part::Mjml, other, json!({}))[0].0, "invalid_markup", "{other}");
    }
}

#[test]
fn variables_are_not_templates() {
    assert_eq!(text("{{a}}", json!({ "a": "{{b}} {{#each x}}" })), "{{b}} {{#each x}}");
}

#[test]
fn own_variables_stand_over_those_of_all() {
    let [common, own] = [json!({ "a": 1, "b": 1 }), json!({ "b": 2 })].map(variables);
    assert_eq!(Value::Object(over(&common, &own)), json!({ "a": 1, "b": 2 }));
}

#[test]
fn the_largest_output_is_a_limit_and_not_a_cut() {
    let long = "x".repeat(MAX_OUTPUT);
    assert_eq!(text("{{a}}", json!({ "a": long })).len(), MAX_OUTPUT);
    assert_eq!(stopped(Part::Text, "{{a}}y", json!({ "a": long }))[0].0, "too_large");
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_template_within_the_limits_or_is_refused_with_a_reason(
        template in "(\\{\\{|\\}\\}|\\{\\{\\{|\\}\\}\\}|#if |/if|#each |/each|else|> p|name|\\.\\./|this|@index|\\(|\\)|\"|'|=|\\||as |~|!--|&|<p>|</p>|<style>|p\\{color:red\\}|[a-z ]{1,4}|\\PC){0,30}",
    ) {
        let given = variables(json!({ "name": "Ann", "p": [1, { "name": null }] }));
        for part in [Part::Subject, Part::Text, Part::Html] {
            let rendered = match Compiled::new(&source(&[(part, &template)])) {
                Ok(compiled) => compiled.render(&given),
                Err(faults) => Err(faults),
            };
            match rendered {
                Ok(rendered) => {
                    let text = rendered.text.unwrap_or_default();
                    proptest::prop_assert!(text.len() <= MAX_OUTPUT);
                    if part == Part::Text && !template.contains(['{', '\\']) {
                        proptest::prop_assert_eq!(&text, &template);
                    }
                }
                Err(faults) => {
                    proptest::prop_assert!(!faults.is_empty());
                    proptest::prop_assert!(faults.iter().all(|fault| !fault.sentence().is_empty()));
                }
            }
        }
    }
}

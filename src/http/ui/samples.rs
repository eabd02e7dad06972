//! A first mail in each of eight languages, ready to be copied. Each sends to the address that simulates a delivery, with
//! nothing but what its language brings along, or what everybody uses there.

/// A sample in one language.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What it is called in addresses.
    pub code: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// The program.
    pub text: String,
}

/// All of them, for the postroad at `url` and with this key.
pub fn all(url: &str, key: &str) -> Vec<Sample> {
    let fill = |(code, label, text): (&'static str, &'static str, &'static str)| Sample {
        code,
        label,
        text: text.trim_start().replace("POSTROAD_URL", url).replace("POSTROAD_KEY", key),
    };
    SAMPLES.into_iter().map(fill).collect()
}

const SAMPLES: [(&str, &str, &str); 8] = [
    ("curl", "curl", CURL),
    ("node", "Node", NODE),
    ("python", "Python", PYTHON),
    ("go", "Go", GO),
    ("php", "PHP", PHP),
    ("ruby", "Ruby", RUBY),
    ("rust", "Rust", RUST),
    ("java", "Java", JAVA),
];

const CURL: &str = r#"
curl POSTROAD_URL/v1/messages \
  -H "Authorization: Bearer POSTROAD_KEY" \
  -H "Content-Type: application/json" \
  -d '{"from": "you@your.example", "to": "delivered@simulator.postroad.test",
       "subject": "Hello", "text": "It works."}'
"#;

const NODE: &str = r#"
const response = await fetch("POSTROAD_URL/v1/messages", {
  method: "POST",
  headers: { Authorization: "Bearer POSTROAD_KEY", "Content-Type": "application/json" },
  body: JSON.stringify({
    from: "you@your.example",
    to: "delivered@simulator.postroad.test",
    subject: "Hello",
    text: "It works.",
  }),
});
console.log(response.status, await response.json());
"#;

const PYTHON: &str = r#"
import json, urllib.request

mail = {
    "from": "you@your.example",
    "to": "delivered@simulator.postroad.test",
    "subject": "Hello",
    "text": "It works.",
}
request = urllib.request.Request(
    "POSTROAD_URL/v1/messages",
    data=json.dumps(mail).encode(),
    headers={"Authorization": "Bearer POSTROAD_KEY", "Content-Type": "application/json"},
)
with urllib.request.urlopen(request) as response:
    print(response.status, json.load(response))
"#;

const GO: &str = r#"
package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

func main() {
	body := `{"from": "you@your.example", "to": "delivered@simulator.postroad.test",
	          "subject": "Hello", "text": "It works."}`
	request, _ := http.NewRequest("POST", "POSTROAD_URL/v1/messages", strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer POSTROAD_KEY")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	fmt.Println(response.Status, string(answer))
}
"#;

const PHP: &str = r#"
<?php
$mail = [
    "from" => "you@your.example",
    "to" => "delivered@simulator.postroad.test",
    "subject" => "Hello",
    "text" => "It works.",
];
$answer = file_get_contents("POSTROAD_URL/v1/messages", false, stream_context_create(["http" => [
    "method" => "POST",
    "header" => "Authorization: Bearer POSTROAD_KEY\r\nContent-Type: application/json",
    "content" => json_encode($mail),
    "ignore_errors" => true,
]]));
echo $answer, "\n";
"#;

const RUBY: &str = r#"
require "json"
require "net/http"

uri = URI("POSTROAD_URL/v1/messages")
mail = {
  from: "you@your.example",
  to: "delivered@simulator.postroad.test",
  subject: "Hello",
  text: "It works.",
}
response = Net::HTTP.post(uri, mail.to_json,
  "Authorization" => "Bearer POSTROAD_KEY", "Content-Type" => "application/json")
puts response.code, response.body
"#;

const RUST: &str = r#"
// cargo add reqwest --features blocking,json && cargo add serde_json
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let response = reqwest::blocking::Client::new()
        .post("POSTROAD_URL/v1/messages")
        .bearer_auth("POSTROAD_KEY")
        .json(&json!({
            "from": "you@your.example",
            "to": "delivered@simulator.postroad.test",
            "subject": "Hello",
            "text": "It works.",
        }))
        .send()?;
    println!("{} {}", response.status(), response.text()?);
    Ok(())
}
"#;

const JAVA: &str = r#"
import java.net.URI;
import java.net.http.*;

public class Hello {
    public static void main(String[] args) throws Exception {
        String mail = """
            {"from": "you@your.example", "to": "delivered@simulator.postroad.test",
             "subject": "Hello", "text": "It works."}""";
        HttpRequest request = HttpRequest.newBuilder(URI.create("POSTROAD_URL/v1/messages"))
            .header("Authorization", "Bearer POSTROAD_KEY")
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(mail))
            .build();
        HttpResponse<String> response =
            HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(response.statusCode() + " " + response.body());
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_names_the_place_and_the_key() {
        for sample in all("https://mail.acme.example", "pr_secret") {
            assert!(sample.text.contains("https://mail.acme.example/v1/messages"), "{}", sample.code);
            assert!(
                sample.text.contains("pr_secret") && !sample.text.contains("POSTROAD_"),
                "{}",
                sample.code
            );
        }
    }
}

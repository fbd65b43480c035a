//! A run as a page for a browser: one file that needs nothing else. The page is fixed. The run is in it as JSON,
//! which its script draws. No text of a job becomes markup.

use super::findings::Findings;
use super::json;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("page/data.js"),
    include_str!("page/charts.js"),
    include_str!("page/timeline.js"),
    include_str!("page/tables.js"),
];

/// Makes the page.
///
/// # Errors
/// The facts can't be written as JSON. This is a defect.
pub fn page(findings: &Findings<'_>) -> serde_json::Result<String> {
    let data = serde_json::to_string(&json::document(findings, true))?;
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + data.len() + (64 << 10));
    for piece in PAGE.split_inclusive("-->") {
        let (text, mark) = piece.rsplit_once("<!--").unwrap_or((piece, ""));
        page.push_str(text);
        match mark {
            "style-->" => page.push_str(STYLE),
            "title-->" => page.push_str(&escape(&title(findings))),
            "verdict-->" => page.push_str(&escape(&findings.verdict())),
            "data-->" => page.push_str(&inert(&data)),
            "script-->" => SCRIPTS.iter().for_each(|script| page.push_str(script)),
            _ => {}
        }
    }
    Ok(page)
}

fn title(findings: &Findings<'_>) -> String {
    format!("{} – procpool", findings.verdict())
}

/// Escapes text for markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Escapes JSON so that a browser finds no markup in it. The escaped characters can be in strings only.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_ends_the_script() {
        let hostile = r#"{"job":"</script><!--<script>"}"#;
        assert!(!inert(hostile).contains('<'));
        let value: serde_json::Value = serde_json::from_str(&inert(hostile)).expect("JSON");
        assert_eq!(value["job"], "</script><!--<script>");
    }
}

//! Whether an answer is what a page shows.

use serde_json::Value;

/// Members whose words programs decide by.
const WORDS: [&str; 5] = ["code", "status", "state", "success", "role"];

/// Compares an answer with what a page shows. A page may leave members out; what it shows must be there, of the same type.
/// Where programs decide by a word, it is the same word.
pub(super) fn fits(shown: &Value, actual: &Value) -> Result<(), String> {
    compare(shown, actual, "")
}

fn compare(shown: &Value, actual: &Value, at: &str) -> Result<(), String> {
    let differs = || Err(format!("`{at}` is {actual}, not like {shown}"));
    match (shown, actual) {
        // Shown as absent, so it may hold anything else at another time.
        (Value::Null, _) | (Value::Number(_), Value::Number(_)) => Ok(()),
        (Value::Bool(wanted), Value::Bool(found)) if wanted == found || !is_word(at) => Ok(()),
        (Value::String(wanted), Value::String(found)) => {
            // A line for people, such as `Up 2 hours`, is no word.
            let decides =
                is_word(at) && wanted.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
            if decides && wanted != found { differs() } else { Ok(()) }
        }
        (Value::Array(wanted), Value::Array(found)) => {
            let Some(wanted) = wanted.first() else { return Ok(()) };
            let mut problem = Err(format!("`{at}` is empty"));
            for element in found {
                problem = compare(wanted, element, at);
                if problem.is_ok() {
                    break;
                }
            }
            problem
        }
        (Value::Object(wanted), Value::Object(found)) => {
            for (name, wanted) in wanted {
                let at = format!("{at}/{name}");
                let found = found.get(name).ok_or_else(|| format!("`{at}` is missing"))?;
                compare(wanted, found, &at)?;
            }
            Ok(())
        }
        _ => differs(),
    }
}

fn is_word(at: &str) -> bool {
    at.rsplit('/').next().is_some_and(|name| WORDS.contains(&name))
}

#[test]
fn what_is_missing_of_another_type_or_another_word_does_not_fit() {
    let shown = serde_json::json!({"data": [{"status": "running", "port": 1, "line": "x", "none": null}]});
    let actual = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");

    let good = actual(
        r#"{"data": [{}, {"status": "running", "port": 8, "line": "y", "none": 3, "more": 1}], "else": 1}"#,
    );
    assert_eq!(fits(&shown, &good), Ok(()));
    for bad in [
        r#"{"data": []}"#,
        r#"{"data": {}}"#,
        r#"{"data": [{"status": "stopped", "port": 8, "line": "y", "none": 3}]}"#,
        r#"{"data": [{"status": "running", "port": "8", "line": "y", "none": 3}]}"#,
        r#"{"data": [{"status": "running", "port": 8, "line": null, "none": 3}]}"#,
        r#"{"data": [{"status": "running", "port": 8, "line": "y"}]}"#,
    ] {
        assert!(fits(&shown, &actual(bad)).is_err(), "{bad}");
    }
}

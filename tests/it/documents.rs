//! The documents: links between them lead somewhere, and lists in them match the code.

use std::path::{Path, PathBuf};
use std::process::Command;

use payment_service::processors::simulated::TEST_CARDS;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The Markdown files under version control.
fn documents() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["-C", ROOT, "ls-files", "--cached", "--others"])
        .args(["--exclude-standard", "*.md"])
        .output()
        .expect("git runs: install it");
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files = listed.lines().map(|file| Path::new(ROOT).join(file));
    files.filter(|file| file.exists()).collect()
}

/// The text without its code blocks, in which brackets are no links.
fn prose(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let parts = text.split("```").step_by(2);
    parts.collect::<Vec<_>>().join("\n")
}

/// The targets of links to other files of this project, and to headings.
fn targets(text: &str) -> Vec<&str> {
    let links = text.split("](").skip(1);
    let targets = links.filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter_map(|it| match it {
                ' ' => Some('-'),
                '-' | '_' => Some(it),
                _ => it.is_alphanumeric().then_some(it),
            });
            kept.collect()
        })
        .collect()
}

#[test]
fn every_link_in_a_document_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    let documents = documents();
    let mut checked = 0;
    for document in &documents {
        let text = prose(document);
        for target in targets(&text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                document.clone()
            } else {
                document.with_file_name("").join(file)
            };
            let heading_exists = || anchors(&prose(&path)).iter().any(|it| it == anchor);
            if !path.exists() || !(anchor.is_empty() || heading_exists()) {
                broken.push(format!("{}: {target}", document.display()));
            }
            checked += 1;
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(
        checked > 100,
        "{checked} links in {} documents",
        documents.len()
    );
}

#[test]
fn the_table_of_test_cards_has_exactly_the_cards_of_the_simulator() {
    let document = include_str!("../../docs/test-cards.md");
    let is_row = |line: &&str| line.starts_with("| ") && line.contains("`tok_");
    let rows: Vec<_> = document.lines().filter(is_row).collect();
    let cards = TEST_CARDS.iter();
    let expected: Vec<_> = cards
        .map(|card| format!("| {} | `{}` | {} |", card.number, card.token, card.line))
        .collect();
    assert_eq!(rows, expected);
    let readme = include_str!("../../README.md");
    let number = format!("[{} test cards](docs/test-cards.md)", TEST_CARDS.len());
    assert!(readme.contains(&number), "README.md lacks {number}");
}

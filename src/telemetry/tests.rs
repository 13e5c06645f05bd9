use std::path::Path;

const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook.md");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// The names that counters, gauges and histograms are given below a folder.
fn metric_names(folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            metric_names(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            for used in text.split("metrics::").skip(1) {
                let macros = ["counter!(", "gauge!(", "histogram!("];
                let arguments = macros.iter().find_map(|name| used.strip_prefix(name));
                let name = arguments.and_then(|text| text.trim_start().strip_prefix('"'));
                names.extend(
                    name.and_then(|text| text.split('"').next())
                        .map(str::to_owned),
                );
            }
        }
    }
}

#[test]
fn the_runbook_explains_every_metric() {
    let mut names = Vec::new();
    metric_names(Path::new(SOURCES), &mut names);
    assert!(names.len() >= 10, "{names:?}");
    let runbook = std::fs::read_to_string(RUNBOOK).expect("the runbook");
    names.retain(|name| !runbook.contains(&format!("`{name}`")));
    assert!(names.is_empty(), "docs/runbook.md lacks {names:?}");
}

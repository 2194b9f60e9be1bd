//! Every link of a document leads to a file of the repository, and to a heading of it where the link names one.

use std::path::{Path, PathBuf};

/// The documents: every file in Markdown, but those of builds and of other programs.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The text of a document without its blocks of code.
fn prose(document: &Path) -> String {
    std::fs::read_to_string(document).unwrap().split("```").step_by(2).collect()
}

/// The targets of the links in a text.
fn targets(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap())
}

/// The name by which a link names a heading, as the usual renderers of Markdown make it.
fn anchor(heading: &str) -> String {
    let kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
    heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// Asserts that a document has a heading.
#[track_caller]
fn assert_has(document: &Path, name: &str, from: &Path) {
    let prose = prose(document);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
    assert!(
        anchors.any(|anchor| anchor == name),
        "{}: {} has no #{name}",
        from.display(),
        document.display()
    );
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for document in documents() {
        for target in targets(&prose(&document)).filter(|target| !target.contains("://")) {
            let (path, name) =
                target.split_once('#').map_or((target, None), |(path, name)| (path, Some(name)));
            let linked = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            assert!(linked.exists(), "{}: there is no {path}", document.display());
            if let Some(name) = name {
                assert_has(&linked, name, &document);
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links were found");
    assert_eq!(anchor("The status of a daemon"), "the-status-of-a-daemon");
    assert_eq!(anchor("`timeout_ms`"), "timeout_ms");
}

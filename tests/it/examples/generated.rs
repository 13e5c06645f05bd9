//! Clients generated from docs/openapi.json: each creates, processes, captures, refunds and reads payments.

use std::fs;
use std::os::unix::fs::symlink;

use super::clients::python;
use super::fixture::{Fixture, KEY, tool};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAID: &str = "paid ";

#[tokio::test]
async fn a_python_client_is_generated_and_pays() {
    let fixture = Fixture::start(&[]).await;
    let description = format!("{ROOT}/docs/openapi.json");
    let configuration = fixture.folder.path().join("generator.yaml");
    // Without its formatters, and with a warning for whatever it cannot read.
    fs::write(&configuration, "post_hooks: []\n").unwrap();
    let configuration = configuration.display().to_string();
    let arguments = [
        "-m",
        "openapi_python_client",
        "generate",
        "--path",
        &description,
        "--meta",
        "none",
        "--output-path",
        "payment_client",
        "--config",
        &configuration,
        "--fail-on-warning",
    ];
    fixture.run(&python(), &arguments, &[]).await.ended(0);
    let script = format!("{ROOT}/tests/clients/generated.py");
    let said = fixture
        .run(&python(), &[&script, &fixture.url(), KEY, "."], &[])
        .await
        .ended(0);
    assert!(said.starts_with(PAID), "{said}");
}

#[tokio::test]
async fn a_typescript_client_is_generated_checked_and_pays() {
    let fixture = Fixture::start(&[]).await;
    let compiler = tool(
        "TEST_TYPESCRIPT",
        "typescript/node_modules/.bin/tsc",
        "the tsc of tests/typescript",
    );
    let tools = std::path::Path::new(&compiler).parent().unwrap();
    symlink(
        tools.parent().unwrap(),
        fixture.folder.path().join("node_modules"),
    )
    .unwrap();
    for file in ["package.json", "tsconfig.json", "client.ts"] {
        fs::copy(
            format!("{ROOT}/tests/typescript/{file}"),
            fixture.folder.path().join(file),
        )
        .unwrap();
    }
    let generator = tools.join("openapi-typescript").display().to_string();
    let description = format!("{ROOT}/docs/openapi.json");
    fixture
        .run(&generator, &[&description, "--output", "api.d.ts"], &[])
        .await
        .ended(0);
    fixture
        .run(&compiler, &["--project", "."], &[])
        .await
        .ended(0);
    let said = fixture
        .run("node", &["client.js", &fixture.url(), KEY], &[])
        .await
        .ended(0);
    assert!(said.starts_with(PAID), "{said}");
}

//! Clients that are generated from docs/openapi.json: each makes, processes and reads a payment.

use std::fs;
use std::os::unix::fs::symlink;

use super::clients::python;
use super::place::{KEY, Place, tool};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAID: &str = "paid ";

#[tokio::test]
async fn a_python_client_is_generated_and_pays() {
    let place = Place::start(&[]).await;
    let description = format!("{ROOT}/docs/openapi.json");
    let configuration = place.folder.path().join("generator.yaml");
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
    place.run(&python(), &arguments, &[]).await.ended(0);
    let script = format!("{ROOT}/tests/clients/generated.py");
    let said = place
        .run(&python(), &[&script, &place.url(), KEY, "."], &[])
        .await
        .ended(0);
    assert!(said.starts_with(PAID), "{said}");
}

#[tokio::test]
async fn a_typescript_client_is_generated_checked_and_pays() {
    let place = Place::start(&[]).await;
    let compiler = tool(
        "TEST_TYPESCRIPT",
        "typescript/node_modules/.bin/tsc",
        "the tsc of tests/typescript",
    );
    let tools = std::path::Path::new(&compiler).parent().unwrap();
    symlink(
        tools.parent().unwrap(),
        place.folder.path().join("node_modules"),
    )
    .unwrap();
    for file in ["package.json", "tsconfig.json", "client.ts"] {
        fs::copy(
            format!("{ROOT}/tests/typescript/{file}"),
            place.folder.path().join(file),
        )
        .unwrap();
    }
    let generator = tools.join("openapi-typescript").display().to_string();
    let description = format!("{ROOT}/docs/openapi.json");
    place
        .run(&generator, &[&description, "--output", "api.d.ts"], &[])
        .await
        .ended(0);
    place
        .run(&compiler, &["--project", "."], &[])
        .await
        .ended(0);
    let said = place
        .run("node", &["client.js", &place.url(), KEY], &[])
        .await
        .ended(0);
    assert!(said.starts_with(PAID), "{said}");
}

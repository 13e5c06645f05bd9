//! The scripts, the styles and the icon, all in this program. `assets/README.md` says where uPlot comes from.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::http::problem::Problem;

/// One of the assets. They change only with the program; `no-cache` so that a new release is seen at once.
pub async fn asset(Path(name): Path<String>, uri: Uri) -> Response {
    let (media_type, content) = match name.as_str() {
        "admin.js" => (
            "text/javascript; charset=utf-8",
            include_str!("assets/admin.js"),
        ),
        "admin.css" => ("text/css; charset=utf-8", include_str!("assets/admin.css")),
        "charts.js" => (
            "text/javascript; charset=utf-8",
            include_str!("assets/charts.js"),
        ),
        "uplot.js" => (
            "text/javascript; charset=utf-8",
            include_str!("assets/uplot.js"),
        ),
        "uplot.css" => ("text/css; charset=utf-8", include_str!("assets/uplot.css")),
        "icon.svg" => ("image/svg+xml", include_str!("assets/icon.svg")),
        _ => return Problem::unknown_address(&uri).into_response(),
    };
    let headers = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-cache")];
    (StatusCode::OK, headers, content).into_response()
}

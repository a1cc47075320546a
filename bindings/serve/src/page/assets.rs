//! Style and script, compiled in. Their names have their digests in them, so that browsers keep them for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::shell;

struct Asset {
    path: String,
    media_type: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(name: &str, extension: &str, media_type: &'static str, text: &'static str) -> Self {
        let digest = crate::record::short(&tollgate::digest(text.as_bytes(), None));
        Asset { path: format!("/settings/assets/{name}-{digest}.{extension}"), media_type, text }
    }
}

/// Later parts may depend on earlier ones.
const STYLE_TEXT: &str = concat!(
    include_str!("../../templates/assets/style/base.css"),
    include_str!("../../templates/assets/style/frame.css"),
    include_str!("../../templates/assets/style/forms.css"),
    include_str!("../../templates/assets/style/tables.css"),
    include_str!("../../templates/assets/style/charts.css"),
    include_str!("../../templates/assets/style/screens.css"),
);

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", STYLE_TEXT));

static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "script",
        "js",
        "text/javascript; charset=utf-8",
        include_str!("../../templates/assets/script.js"),
    )
});

pub(super) fn style_path() -> &'static str {
    &STYLE.path
}

pub(super) fn script_path() -> &'static str {
    &SCRIPT.path
}

pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let is_asked =
        |asset: &Asset| asset.path.strip_prefix("/settings/assets/") == Some(name.as_str());
    let assets = [&*STYLE, &*SCRIPT];
    let Some(asset) = assets.into_iter().find(|asset| is_asked(asset)) else {
        return shell::message(StatusCode::NOT_FOUND);
    };
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    let media_type = HeaderValue::from_static(asset.media_type);
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, kept)], asset.text)
        .into_response()
}

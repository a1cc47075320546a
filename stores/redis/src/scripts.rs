//! The scripts that run on the server, each with the digest that names it there.

use std::sync::LazyLock;

use redis::Script;

/// A script and its parts, in the order in which they are read.
macro_rules! scripts {
    ($($(#[$about:meta])* $name:ident: $($file:literal),+;)+) => {
        $(
            $(#[$about])*
            pub(crate) static $name: LazyLock<ServerScript> = LazyLock::new(|| {
                ServerScript::new(concat!($(include_str!(concat!("scripts/", $file, ".lua")), "\n"),+))
            });
        )+
    };
}

scripts! {
    /// [`Command::Admit`](tollgate::Command::Admit), to be applied.
    ADMIT: "numbers", "cells", "gather", "revision", "format", "account", "admit";
    /// The same where nothing but limits can hold the request back.
    LIMITS: "numbers", "cells", "gather", "revision", "limits";
    /// [`Command::Settle`](tollgate::Command::Settle), and an operator's resolution.
    SETTLE: "numbers", "format", "account", "settle";
    /// Gives back a part of what was posted.
    REFUND: "numbers", "format", "account", "refund";
    /// Pays in.
    DEPOSIT: "numbers", "format", "account", "deposit";
    /// Deals with what fell due in one account.
    EXPIRE: "numbers", "format", "account", "expire";
    /// Reads what a command needs of an account.
    LOOK: "numbers", "format", "account", "look";
    /// Writes settings and tokens, if nobody else did since they were read.
    PUT: "numbers", "format", "put";
    /// Puts the copy of a token that look-ups read.
    PUBLISH: "numbers", "publish";
    /// Counts a limit whose cell is in a slot of its own.
    TAKE: "numbers", "cells", "take";
    /// Takes units out of such a cell again.
    GIVE_BACK: "numbers", "give_back";
}

/// A script's text, and its SHA-1 in hexadecimal digits.
pub(crate) struct ServerScript {
    text: &'static str,
    digest: String,
}

impl ServerScript {
    fn new(text: &'static str) -> Self {
        ServerScript { text, digest: Script::new(text).get_hash().to_owned() }
    }

    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

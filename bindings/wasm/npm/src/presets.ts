// The presets as the library has them, with every field: bindings/wasm/tests/tests/presets.rs compares. They are not in the wasm module,
// where code would build them and more code write them as text.

export const presets: Readonly<Record<string, object>> = {
  "sms-gateway": {
    "tokens": { "format": "native" },
    "source": {
      "trusted_proxies": [],
      "forwarded_header": "x-forwarded-for",
      "shadow_networks": false
    },
    "paths": { "fold_trailing_slash": false },
    "scopes": {
      "balance": ["GET /balance"],
      "email:verify": ["POST /email/verify"],
      "lookup": ["POST /lookup", "GET /lookups", "GET /lookup/{id}"],
      "otp": ["POST /otp/send", "POST /otp/verify"],
      "reports": [
        "GET /messages",
        "GET /messages/{id}",
        "GET /campaigns",
        "GET /campaigns/{id}"
      ],
      "sms:send": ["POST /sms/send"],
      "voice": ["POST /voice/send", "GET /voice/{id}"],
      "webhooks": [
        "GET /webhooks",
        "POST /webhooks",
        "GET /webhooks/{id}",
        "PUT /webhooks/{id}",
        "PATCH /webhooks/{id}",
        "DELETE /webhooks/{id}"
      ]
    },
    "limits": {
      "otp_source_ip": {
        "per": "source_ip",
        "quota": 10,
        "window_ms": 60000,
        "algorithm": "gcra",
        "counts": "executions",
        "routes": ["POST /otp/send"],
        "cost": 1,
        "shadow": false,
        "on_store_failure": "closed"
      },
      "token": {
        "per": "token",
        "quota": 120,
        "window_ms": 60000,
        "algorithm": "gcra",
        "counts": "requests",
        "cost": 1,
        "shadow": false,
        "on_store_failure": "closed"
      }
    },
    "idempotency": {
      "retention_ms": 86400000,
      "on_orphan": "conflict",
      "required": false,
      "on_store_failure": "closed"
    },
    "reservations": {
      "lease_ms": 300000,
      "on_expiry": "void",
      "retention_ms": 604800000
    },
    "routes": {
      "POST /otp/send": { "idempotency": true },
      "POST /sms/send": { "idempotency": true },
      "POST /voice/send": { "idempotency": true }
    },
    "answers": {
      "problem_json": false,
      "x_ratelimit": true,
      "ietf_ratelimit": false,
      "reset": "unix",
      "realm": "api"
    }
  }
};

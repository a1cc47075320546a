/* A gateway in front of an upstream, on a store that answers at once: it decides, answers or passes on, and finishes.
 * The clock stands still, so that what is printed is always the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tollgate.h>

#define TEXT(text) (text), strlen(text)

static const uint64_t now_ms = 1700000000000;

static void must(tollgate_result_t result) {
  if (result == TOLLGATE_OK) {
    return;
  }
  fprintf(stderr, "%s: %s\n", tollgate_result_name(result), tollgate_last_error());
  exit(1);
}

static const char *policy_text =
    "[scopes]\n"
    "\"sms:send\" = [\"POST /sms/send\"]\n"
    "reports = [\"GET /messages/{id}\"]\n"
    "[limits.token]\n"
    "per = \"token\"\n"
    "quota = 3\n"
    "window_ms = 60_000\n"
    "[routes.\"POST /sms/send\"]\n"
    "idempotency = true\n"
    "price = 5\n";

static void print_answer(const tollgate_decision_t *decision) {
  tollgate_header_t headers[16];
  char space[1024], body[1024];
  size_t count, used, body_len;
  must(tollgate_decision_headers(decision, headers, 16, &count, space, sizeof space, &used));
  must(tollgate_decision_body(decision, body, sizeof body, &body_len));
  printf("  %u %s\n", (unsigned)tollgate_decision_http_status(decision), tollgate_decision_code(decision));
  for (size_t i = 0; i < count; i++) {
    printf("  %.*s: %.*s\n", (int)headers[i].name_len, headers[i].name, (int)headers[i].value_len, headers[i].value);
  }
  if (body_len > 0) {
    printf("  %.*s\n", (int)body_len, body);
  }
}

/* One request from its arrival to its end. */
static void serve(const tollgate_engine_t *engine, const tollgate_store_t *store, const tollgate_request_t *request) {
  tollgate_decision_t *decision;
  printf("%.*s %.*s\n", (int)request->method_len, request->method, (int)request->target_len, request->target);
  must(tollgate_decide(engine, store, request, &decision));
  print_answer(decision);
  if (tollgate_decision_must_finish(decision)) {
    /* Here the upstream was asked; it sent 202, which is kept for replays. */
    tollgate_header_t type = {TEXT("Content-Type"), TEXT("text/plain")};
    tollgate_response_t response = {.struct_size = sizeof response, .status = 202};
    tollgate_finish_t finish = {.struct_size = sizeof finish, .outcome = TOLLGATE_SETTLE};
    bool has_posted;
    uint64_t posted;
    response.headers = &type;
    response.headers_len = 1;
    response.body = (const uint8_t *)"sent";
    response.body_len = 4;
    finish.response = &response;
    must(tollgate_finish(decision, store, &finish, now_ms, &has_posted, &posted));
    printf("  posted %llu\n", has_posted ? (unsigned long long)posted : 0ULL);
  }
  tollgate_decision_free(decision);
}

static void explain(const tollgate_engine_t *engine, const tollgate_store_t *store, const tollgate_request_t *request) {
  tollgate_explanation_t *explanation;
  must(tollgate_explain(engine, store, request, &explanation));
  printf("why\n");
  for (size_t i = 0; i < tollgate_explanation_step_count(explanation); i++) {
    tollgate_trace_step_t step;
    must(tollgate_explanation_step(explanation, i, &step));
    printf("  %.*s: %.*s\n", (int)step.check.len, step.check.data, (int)step.result.len, step.result.data);
  }
  tollgate_explanation_free(explanation);
}

int main(void) {
  tollgate_policy_t *policy;
  tollgate_engine_t *engine;
  tollgate_store_t *store;
  uint8_t entropy[32], digest[32];
  char token[64], bearer[80];
  size_t token_len;

  must(tollgate_check_abi(TOLLGATE_ABI_VERSION));
  must(tollgate_policy_new(TEXT(policy_text), TOLLGATE_POLICY_TOML, &policy));
  must(tollgate_engine_new(policy, NULL, 0, &engine));
  tollgate_policy_free(policy);
  must(tollgate_store_memory_new(NULL, &store));

  /* An account with 100 to spend, and its token. Outside an example entropy is null: the operating system's. */
  memset(entropy, 7, sizeof entropy);
  must(tollgate_token_generate(entropy, token, sizeof token, &token_len));
  must(tollgate_engine_digest(engine, token, token_len, digest));
  must(tollgate_account_put(store, TEXT("acct_1"), 100, NULL, now_ms));
  tollgate_str_t scopes[] = {{TEXT("sms:send")}, {TEXT("reports")}};
  tollgate_token_settings_t settings = {.struct_size = sizeof settings, .scopes = scopes, .scopes_len = 2, .set_scopes = 1};
  must(tollgate_token_put(store, digest, TEXT("acct_1"), &settings, now_ms));

  snprintf(bearer, sizeof bearer, "Bearer %.*s", (int)token_len, token);
  tollgate_header_t headers[] = {
      {TEXT("Authorization"), TEXT(bearer)},
      {TEXT("Idempotency-Key"), TEXT("order-17")},
  };
  static const uint8_t peer[] = {192, 0, 2, 1};
  tollgate_request_t request = {.struct_size = sizeof request, .now_ms = now_ms};
  request.method = "POST";
  request.method_len = 4;
  request.target = "/sms/send";
  request.target_len = 9;
  request.peer = peer;
  request.peer_len = sizeof peer;
  request.body = (const uint8_t *)"hello";
  request.body_len = 5;

  serve(engine, store, &request); /* no token */
  request.headers = headers;
  request.headers_len = 2;
  serve(engine, store, &request); /* sent and paid */
  serve(engine, store, &request); /* the same again: replayed */
  request.body = (const uint8_t *)"other";
  serve(engine, store, &request); /* the key for another request */
  request.body = (const uint8_t *)"hello";
  serve(engine, store, &request); /* the fourth of three a minute */
  explain(engine, store, &request);

  tollgate_wallet_t wallet;
  must(tollgate_account_wallet(store, TEXT("acct_1"), now_ms, &wallet));
  printf("balance %llu, held %llu, posted %llu\n", (unsigned long long)wallet.balance, (unsigned long long)wallet.held,
         (unsigned long long)wallet.posted);
  tollgate_store_free(store);
  tollgate_engine_free(engine);
  return 0;
}

/* The step form: an operation says what it asks of the store, and an event loop has that done when it sees fit. Here the
 * store is in memory and the loop is a queue of two requests that take turns. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tollgate.h>

#define TEXT(text) (text), strlen(text)

static const uint64_t now_ms = 1700000000000;
static const char *token = "tok-0123456789";

static void must(tollgate_result_t result) {
  if (result == TOLLGATE_OK) {
    return;
  }
  fprintf(stderr, "%s: %s\n", tollgate_result_name(result), tollgate_last_error());
  exit(1);
}

static const char *command_name(tollgate_command_t command) {
  switch (command) {
  case TOLLGATE_COMMAND_LOOKUP: return "lookup";
  case TOLLGATE_COMMAND_ADMIT: return "admit";
  case TOLLGATE_COMMAND_SETTLE: return "settle";
  default: return "none";
  }
}

/* One step of one operation: true while there is more to do. */
static bool step(const char *name, tollgate_operation_t *operation, const tollgate_store_t *store) {
  tollgate_command_t command = tollgate_operation_command(operation);
  if (command == TOLLGATE_COMMAND_NONE) {
    return false;
  }
  printf("%s: %s%s\n", name, command_name(command), tollgate_operation_wants_body(operation) ? ", with the body" : "");
  must(tollgate_operation_perform(operation, store));
  return true;
}

int main(void) {
  static const char *policy_text = "[tokens]\nformat = \"opaque\"\n"
                                   "[scopes]\nsend = [\"POST /send\"]\n"
                                   "[routes.\"POST /send\"]\nidempotency = true\nprice = 5\n";
  tollgate_policy_t *policy;
  tollgate_engine_t *engine;
  tollgate_store_t *store;
  uint8_t digest[32];

  must(tollgate_policy_new(TEXT(policy_text), TOLLGATE_POLICY_TOML, &policy));
  must(tollgate_engine_new(policy, NULL, 0, &engine));
  tollgate_policy_free(policy);
  must(tollgate_store_memory_new(NULL, &store));
  must(tollgate_engine_digest(engine, TEXT(token), digest));
  must(tollgate_account_put(store, TEXT("acct_1"), 100, NULL, now_ms));
  tollgate_str_t scope = {TEXT("send")};
  tollgate_token_settings_t settings = {.struct_size = sizeof settings, .scopes = &scope, .scopes_len = 1, .set_scopes = 1};
  must(tollgate_token_put(store, digest, TEXT("acct_1"), &settings, now_ms));

  tollgate_header_t headers[] = {
      {TEXT("Authorization"), TEXT("Bearer tok-0123456789")},
      {TEXT("Idempotency-Key"), TEXT("order-17")},
  };
  tollgate_request_t request = {.struct_size = sizeof request, .now_ms = now_ms, .headers = headers, .headers_len = 2};
  request.method = "POST";
  request.method_len = 4;
  request.target = "/send";
  request.target_len = 5;

  /* Two clients send the same key at once: one of them may pass. */
  tollgate_operation_t *first, *second;
  must(tollgate_operation_decide(engine, &request, true, &first));
  must(tollgate_operation_decide(engine, &request, true, &second));
  bool more;
  do {
    more = step("first", first, store);
    more = step("second", second, store) || more;
  } while (more);
  tollgate_decision_t *allowed, *denied;
  must(tollgate_operation_decision(first, &allowed));
  must(tollgate_operation_decision(second, &denied));
  tollgate_operation_free(first);
  tollgate_operation_free(second);
  printf("first: %s\nsecond: %s\n", tollgate_decision_code(allowed), tollgate_decision_code(denied));

  /* The upstream did it. */
  tollgate_finish_t finish = {.struct_size = sizeof finish, .outcome = TOLLGATE_SETTLE};
  tollgate_operation_t *end;
  bool has_posted;
  uint64_t posted;
  must(tollgate_operation_finish(allowed, &finish, now_ms, &end));
  while (step("end", end, store)) {
  }
  must(tollgate_operation_finished(end, &has_posted, &posted));
  printf("posted %llu\n", has_posted ? (unsigned long long)posted : 0ULL);
  tollgate_operation_free(end);
  tollgate_decision_free(allowed);
  tollgate_decision_free(denied);
  tollgate_store_free(store);
  tollgate_engine_free(engine);
  return 0;
}

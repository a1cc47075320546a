/* Eight threads share an engine and a store, and one of them replaces the policy all the while. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tollgate.h>

#define TEXT(text) (text), strlen(text)
#define OK(call)                                                                                                         \
  do {                                                                                                                   \
    if ((call) != TOLLGATE_OK) {                                                                                         \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, tollgate_last_error());                                         \
      abort();                                                                                                           \
    }                                                                                                                    \
  } while (0)

enum { THREADS = 8, TURNS = 100 };

static const uint64_t now_ms = 1700000000000;
static tollgate_engine_t *engine;
static tollgate_store_t *store;
static tollgate_policy_t *policy;

static void *work(void *argument) {
  int number = *(int *)argument;
  for (int turn = 0; turn < TURNS; turn++) {
    char key[32];
    snprintf(key, sizeof key, "key-%d-%d", number, turn);
    tollgate_header_t headers[] = {
        {TEXT("Authorization"), TEXT("Bearer tok-0123456789")},
        {TEXT("Idempotency-Key"), TEXT(key)},
    };
    tollgate_request_t request = {.struct_size = sizeof request, .now_ms = now_ms, .headers = headers, .headers_len = 2};
    tollgate_finish_t finish = {.struct_size = sizeof finish, .outcome = TOLLGATE_SETTLE};
    tollgate_decision_t *decision;
    bool has_posted;
    uint64_t posted;
    request.method = "POST";
    request.method_len = 4;
    request.target = "/send";
    request.target_len = 5;
    OK(tollgate_decide(engine, store, &request, &decision));
    if (!tollgate_decision_must_finish(decision)) {
      fprintf(stderr, "denied: %s\n", tollgate_decision_code(decision));
      abort();
    }
    OK(tollgate_finish(decision, store, &finish, now_ms, &has_posted, &posted));
    tollgate_decision_free(decision);
    if (number == 0) {
      OK(tollgate_engine_reload(engine, policy));
    }
  }
  return NULL;
}

int main(void) {
  static const char *text = "[tokens]\nformat = \"opaque\"\n[scopes]\nsend = [\"POST /send\"]\n"
                            "[routes.\"POST /send\"]\nidempotency = true\nprice = 1\n";
  pthread_t threads[THREADS];
  int numbers[THREADS];
  uint8_t digest[32];
  tollgate_str_t scope = {TEXT("send")};
  tollgate_token_settings_t settings = {.struct_size = sizeof settings, .scopes = &scope, .scopes_len = 1, .set_scopes = 1};
  tollgate_wallet_t wallet;

  OK(tollgate_policy_new(TEXT(text), TOLLGATE_POLICY_TOML, &policy));
  OK(tollgate_engine_new(policy, NULL, 0, &engine));
  OK(tollgate_store_memory_new(NULL, &store));
  OK(tollgate_engine_digest(engine, TEXT("tok-0123456789"), digest));
  OK(tollgate_account_put(store, TEXT("acct_1"), 10000, NULL, now_ms));
  OK(tollgate_token_put(store, digest, TEXT("acct_1"), &settings, now_ms));
  for (int i = 0; i < THREADS; i++) {
    numbers[i] = i;
    if (pthread_create(&threads[i], NULL, work, &numbers[i]) != 0) {
      return 1;
    }
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
  OK(tollgate_account_wallet(store, TEXT("acct_1"), now_ms, &wallet));
  printf("posted %llu, held %llu\n", (unsigned long long)wallet.posted, (unsigned long long)wallet.held);
  tollgate_store_free(store);
  tollgate_engine_free(engine);
  tollgate_policy_free(policy);
  return wallet.posted == THREADS * TURNS ? 0 : 1;
}

// The gateway of gateway.c, in C++.
#include <array>
#include <cstdint>
#include <iostream>
#include <string>

#include <tollgate.hpp>

namespace {

constexpr std::uint64_t now_ms = 1700000000000;

constexpr const char *policy_text = R"(
[tokens]
format = "opaque"
[scopes]
"sms:send" = ["POST /sms/send"]
[limits.token]
per = "token"
quota = 3
window_ms = 60_000
[routes."POST /sms/send"]
idempotency = true
price = 5
)";

void serve(const tollgate::Engine &engine, const tollgate::Store &store, const tollgate::Request &request) {
  const tollgate::Decision decision = tollgate::decide(engine, store, request);
  std::cout << decision.http_status() << ' ' << decision.code();
  if (const auto retry_at_ms = decision.retry_at_ms()) {
    std::cout << ", again in " << *retry_at_ms - now_ms << " ms";
  }
  std::cout << '\n';
  for (const tollgate::Header &header : decision.headers()) {
    std::cout << "  " << header.name << ": " << header.value << '\n';
  }
  if (decision.must_finish()) {
    // Here the upstream was asked.
    auto finish = tollgate::Finish::settle();
    finish.response(tollgate::Response(202).header("Content-Type", "text/plain").body("sent"));
    std::cout << "  posted " << decision.finish(store, finish, now_ms).value_or(0) << '\n';
  } else {
    std::cout << "  " << decision.body() << '\n';
  }
}

} // namespace

int main() {
  tollgate::check_abi();
  const tollgate::Engine engine(tollgate::Policy::toml(policy_text));
  const auto store = tollgate::Store::memory();

  tollgate::AccountSettings account;
  account.spend_caps = {{1000, tollgate::Period::month, false}};
  store.put_account("acct_1", 100, account, now_ms);
  tollgate::TokenSettings settings;
  settings.scopes = {"sms:send"};
  store.put_token(engine.digest("tok-0123456789"), "acct_1", settings, now_ms);

  const std::array<std::uint8_t, 4> peer{192, 0, 2, 1};
  tollgate::Request request("POST", "/sms/send", now_ms);
  request.header("Authorization", "Bearer tok-0123456789").header("Idempotency-Key", "order-17").peer(peer).body("hello");
  for (int turn = 0; turn < 4; ++turn) {
    serve(engine, store, request); // sent, replayed, replayed, limited
  }

  const tollgate::Explanation explanation(engine, store, request);
  for (const auto &step : explanation.steps()) {
    std::cout << step.check << ": " << step.result << '\n';
  }
  try {
    store.deposit("acct_2", 1, now_ms);
  } catch (const tollgate::Error &error) {
    std::cout << error.name() << ": " << error.what() << '\n';
  }
  std::cout << "balance " << store.wallet("acct_1", now_ms).balance << '\n';
}

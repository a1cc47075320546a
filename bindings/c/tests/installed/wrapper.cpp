// Uses every part of tollgate.hpp that the example does not: wrapper DIRECTORY.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include <tollgate.hpp>

namespace {

constexpr std::uint64_t now_ms = 1700000000000;

void check(bool condition, int line) {
  if (!condition) {
    std::cerr << "wrapper.cpp:" << line << ": not so\n";
    std::exit(1);
  }
}
#define CHECK(condition) check((condition), __LINE__)

template <class Call> void fails(tollgate_result_t result, Call call, int line) {
  try {
    call();
  } catch (const tollgate::Error &error) {
    check(error.result() == result && error.what()[0] != 0, line);
    return;
  }
  check(false, line);
}
#define FAILS(result, call) fails((result), [&] { call; }, __LINE__)

static_assert(!std::is_copy_constructible_v<tollgate::Engine> && std::is_nothrow_move_constructible_v<tollgate::Engine>);
static_assert(!std::is_copy_constructible_v<tollgate::Store> && std::is_nothrow_move_assignable_v<tollgate::Store>);

void administration(const tollgate::Engine &engine, const tollgate::Store &store) {
  store.put_account("acct_1", 100, {}, now_ms);
  store.put_account("acct_2", 0, {}, now_ms);
  store.deposit("acct_1", 50, now_ms);
  CHECK(store.wallet("acct_1", now_ms).balance == 150);
  CHECK((store.accounts({}, 10, now_ms) == std::vector<std::string>{"acct_1", "acct_2"}));
  CHECK((store.accounts("acct_1", 10, now_ms) == std::vector<std::string>{"acct_2"}));
  int calls = 0;
  try {
    store.each_account({}, 10, now_ms, [&](std::string_view) -> bool {
      ++calls;
      throw std::logic_error("from the callback");
    });
    CHECK(false);
  } catch (const std::logic_error &error) {
    CHECK(calls == 1 && std::string(error.what()) == "from the callback");
  }
  FAILS(TOLLGATE_UNKNOWN_ACCOUNT, store.deposit("acct_9", 1, now_ms));

  tollgate::TokenSettings settings;
  settings.scopes = {"send"};
  settings.quota = tollgate::Quota{100, 60000};
  settings.expires_ms = now_ms + 1000;
  const tollgate::Digest digest = engine.digest("tok-0123456789");
  store.put_token(digest, "acct_1", settings, now_ms);
  auto tokens = store.tokens("acct_1", now_ms);
  CHECK(tokens.size() == 1 && tokens[0].digest == digest && tokens[0].expires_ms == now_ms + 1000);
  CHECK((tokens[0].scopes == std::vector<std::string>{"send"}));
  settings.expires_ms = tollgate::Change<std::uint64_t>::none();
  store.put_token(digest, "acct_1", settings, now_ms);
  CHECK(!store.tokens("acct_1", now_ms)[0].expires_ms);
  const tollgate::Digest second = engine.digest("tok-second");
  store.rotate_token(digest, second, 1000, now_ms);
  store.revoke_token(second, now_ms);
  CHECK(store.expire(now_ms) == 0);
}

void requests(const tollgate::Engine &engine, const tollgate::Store &store) {
  tollgate::Request request("POST", "/send", now_ms);
  request.header("Authorization", "Bearer tok-0123456789").header("Idempotency-Key", "key");
  auto operation = tollgate::Operation::decide(engine, request, true);
  FAILS(TOLLGATE_NOT_READY, operation.decision());
  CHECK(operation.command() == tollgate::Command::lookup && !operation.wants_body());
  operation.perform(store);
  CHECK(operation.command() == tollgate::Command::admit && operation.wants_body());
  operation.perform(store);
  const tollgate::Decision decision = operation.decision();
  CHECK(decision.verdict() == tollgate::Verdict::allow && decision.holds_key() && decision.shadows() == 0);
  CHECK(decision.route() == "POST /send" && decision.account() == "acct_1" && decision.store_error().empty());
  CHECK(decision.reserved() == 5U && decision.reservation() && !decision.retry_at_ms() && decision.body().empty());

  // A replay that needs more room than the first try has.
  const std::string body(5000, 'x');
  tollgate::Response response(201);
  std::vector<std::string> names;
  for (int index = 0; index < 40; ++index) {
    names.push_back("X-Header-" + std::to_string(index));
  }
  for (const std::string &name : names) {
    response.header(name, std::string_view(body).substr(0, 100));
  }
  auto finish = tollgate::Finish::settle(3);
  finish.response(std::move(response.body(body)));
  auto end = tollgate::Operation::finish(decision, finish, now_ms);
  end.perform(store);
  CHECK(end.finished() == 3U);
  const tollgate::Decision replay = tollgate::decide(engine, store, request);
  CHECK(replay.verdict() == tollgate::Verdict::replay && replay.http_status() == 201);
  CHECK(replay.body() == body && replay.headers().size() > 40);

  const auto reservations = store.reservations("acct_1", now_ms);
  CHECK(reservations.size() == 1 && reservations[0].posted == 3);
  store.refund("acct_1", reservations[0].number, 1, "ref", now_ms);
  FAILS(TOLLGATE_ALREADY_FINISHED, store.resolve("acct_1", reservations[0].number, tollgate::Finish::give_up(), now_ms));
  FAILS(TOLLGATE_NOT_A_RESOLUTION, store.resolve("acct_1", reservations[0].number, tollgate::Finish::unknown(), now_ms));

  request.invalid("no such recipient").sender("ACME").cost(1).peek();
  const tollgate::Explanation explanation(engine, store, request);
  CHECK(!explanation.steps().empty() && explanation.decision().verdict() != tollgate::Verdict::allow);
}

void redis(const tollgate::Engine &engine) {
  const tollgate::Redis redis;
  tollgate::Request request("POST", "/send", now_ms);
  request.header("Authorization", "Bearer tok-0123456789");
  auto operation = tollgate::Operation::decide(engine, request, true);
  operation.redis_start(redis);
  CHECK(operation.redis_calls() == 1 && !operation.redis_call(0).bytes.empty());
  CHECK(!operation.redis_reply(0, "$").complete);
  const auto reply = operation.redis_reply(0, "-1\r\nmore");
  CHECK(reply.complete && reply.consumed == 4);
  operation.redis_resume();
  auto failed = tollgate::Operation::decide(engine, request);
  failed.fail("the network is gone");
  CHECK(failed.decision().status() == TOLLGATE_STATUS_STORE_UNAVAILABLE);
  FAILS(TOLLGATE_STORE_NOT_OPENED, tollgate::Store::redis("no url"));
}

/// A map whose transactions work on a copy.
class Map : public tollgate::HostMap {
public:
  using Entries = std::map<std::string, std::string>;

  explicit Map(int &gone) : gone_(gone) {}
  ~Map() override { ++gone_; }

  class Copy : public Transaction {
  public:
    explicit Copy(Map &map) : map_(map), lock_(map.mutex_), entries_(map.entries_) {}
    std::optional<tollgate::Bytes> get(tollgate::Bytes key) override {
      const auto found = entries_.find(text(key));
      return found == entries_.end() ? std::nullopt : std::optional<tollgate::Bytes>(found->second);
    }
    std::optional<std::pair<tollgate::Bytes, tollgate::Bytes>> first(tollgate::Bytes key) override {
      const auto found = entries_.lower_bound(text(key));
      if (found == entries_.end()) {
        return std::nullopt;
      }
      return std::make_pair(tollgate::Bytes(found->first), tollgate::Bytes(found->second));
    }
    void put(tollgate::Bytes key, tollgate::Bytes value) override { entries_[text(key)] = text(value); }
    bool remove(tollgate::Bytes key) override { return entries_.erase(text(key)) == 1; }
    void commit() override { map_.entries_.swap(entries_); }
    void rollback() noexcept override {}

  private:
    static std::string text(tollgate::Bytes bytes) {
      return std::string(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    }
    Map &map_;
    std::lock_guard<std::mutex> lock_;
    Entries entries_;
  };

  std::unique_ptr<Transaction> begin(bool) override {
    if (fails) {
      throw std::runtime_error("the disk is gone");
    }
    return std::make_unique<Copy>(*this);
  }

  bool fails = false;

private:
  int &gone_;
  std::mutex mutex_;
  Entries entries_;
};

void host_map(const tollgate::Engine &engine) {
  int gone = 0;
  {
    auto owned = std::make_unique<Map>(gone);
    Map &map = *owned;
    const auto store = tollgate::Store::host(std::move(owned));
    administration(engine, store);
    requests(engine, store);
    map.fails = true;
    FAILS(TOLLGATE_STORE_UNAVAILABLE, store.deposit("acct_1", 1, now_ms));
    CHECK(gone == 0);
  }
  CHECK(gone == 1);
  auto broken = std::make_unique<Map>(gone);
  broken->fails = true;
  FAILS(TOLLGATE_STORE_UNAVAILABLE, tollgate::Store::host(std::move(broken)));
  CHECK(gone == 2);
}

} // namespace

int main(int, char **argv) {
  CHECK(tollgate::abi_version() == TOLLGATE_ABI_VERSION);
  tollgate::check_abi();
  int messages = 0;
  tollgate::set_log([&](tollgate::LogLevel, std::string_view) {
    ++messages;
    throw std::logic_error("nobody is told");
  });
  auto policy = tollgate::Policy::toml("[tokens]\nformat = \"opaque\"\n[scopes]\nsend = [\"POST /send\"]\n"
                                       "[limits.token]\nper = \"token\"\nquota = 9\nwindow_ms = 60_000\n"
                                       "[routes.\"POST /send\"]\nidempotency = true\nprice = 5\n");
  FAILS(TOLLGATE_POLICY_INVALID, tollgate::Policy::toml("[limits"));
  FAILS(TOLLGATE_INVALID_ARGUMENT, policy.patch("{"));
  CHECK(!policy.trusts_proxies() && policy.warnings().empty());
  CHECK(tollgate::Policy::preset("sms-gateway").get() != nullptr && tollgate::version() == "0.1.0");
  tollgate::Engine engine(policy, "sixteen bytes at least");
  engine.reload(policy);
  CHECK(messages == 1 && tollgate::generate_token().rfind("tg_live_", 0) == 0);
  tollgate::set_log({});
  tollgate::Engine moved(std::move(engine));

  const auto memory = tollgate::Store::memory();
  administration(moved, memory);
  requests(moved, memory);

  const auto region = tollgate::Region::fit(400000);
  std::vector<std::uint64_t> space(region.size / 8 + 1);
  region.create(space.data());
  const auto store = [&] { // what it is made of may go
    const auto limits = tollgate::Limits::attach(space.data(), region.size);
    CHECK(limits.reclaim_dead(now_ms) == 0);
    tollgate::LmdbOptions options;
    options.map_bytes = 1 << 24;
    options.sync = tollgate::Sync::never;
    return tollgate::Store::composite(limits, tollgate::Store::lmdb(argv[1], options));
  }();
  administration(moved, store);
  requests(moved, store);
  redis(moved);
  host_map(moved);
  std::cout << "the wrapper does what it says\n";
}

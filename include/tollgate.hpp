/* C++17 over the C ABI of tollgate: https://docs.rs/tollgate
 *
 * Owners are move-only and free what they own. Texts and bytes go in as views and come out as values, or as views
 * where a comment says how long they are valid. Include this in place of tollgate.h; link the same library.
 *
 * Errors are exceptions: every call can fail only by misuse, or because a store fails, and neither is handled where
 * it happens. A denied request is no error, it is a decision. Exceptions of callbacks end the call that they were
 * called by, are carried past the library, and thrown again from it.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */

#pragma once

#include "tollgate.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tollgate {

/// A call that failed. `what()` says what is wrong and what to do, without secrets.
class Error : public std::runtime_error {
public:
  Error(tollgate_result_t result, const char *text) : std::runtime_error(text), result_(result) {}

  /// One of `enum tollgate_result`.
  tollgate_result_t result() const noexcept { return result_; }
  /// Its name, such as `TOLLGATE_STORE_FULL`.
  const char *name() const noexcept { return tollgate_result_name(result_); }

private:
  tollgate_result_t result_;
};

/// Bytes of the caller's: of a text, a vector, an array, or any other place.
class Bytes {
public:
  constexpr Bytes() noexcept = default;
  constexpr Bytes(const std::uint8_t *data, std::size_t size) noexcept : data_(data), size_(size) {}
  Bytes(std::string_view text) noexcept
      : data_(reinterpret_cast<const std::uint8_t *>(text.data())), size_(text.size()) {}
  Bytes(const char *text) : Bytes(std::string_view(text)) {}
  Bytes(const std::string &text) noexcept : Bytes(std::string_view(text)) {}
  Bytes(const std::vector<std::uint8_t> &bytes) noexcept : data_(bytes.data()), size_(bytes.size()) {}
  template <std::size_t N>
  Bytes(const std::array<std::uint8_t, N> &bytes) noexcept : data_(bytes.data()), size_(N) {}

  constexpr const std::uint8_t *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }

private:
  const std::uint8_t *data_ = nullptr;
  std::size_t size_ = 0;
};

/// What stores keep of a token.
using Digest = std::array<std::uint8_t, 32>;

/// A header that the library gives.
struct Header {
  std::string name;
  std::string value;
};

enum class Verdict : tollgate_verdict_t {
  allow = TOLLGATE_ALLOW,
  deny = TOLLGATE_DENY,
  replay = TOLLGATE_REPLAY,
};

enum class Command : tollgate_command_t {
  none = TOLLGATE_COMMAND_NONE,
  lookup = TOLLGATE_COMMAND_LOOKUP,
  admit = TOLLGATE_COMMAND_ADMIT,
  settle = TOLLGATE_COMMAND_SETTLE,
};

enum class Period : tollgate_period_t {
  day = TOLLGATE_PER_DAY,
  month = TOLLGATE_PER_MONTH,
  lifetime = TOLLGATE_PER_LIFETIME,
};

enum class Sync : tollgate_sync_t {
  every_commit = TOLLGATE_SYNC_EVERY_COMMIT,
  interval = TOLLGATE_SYNC_INTERVAL,
  never = TOLLGATE_SYNC_NEVER,
};

enum class LogLevel : tollgate_log_level_t {
  error = TOLLGATE_LOG_ERROR,
  warn = TOLLGATE_LOG_WARN,
  info = TOLLGATE_LOG_INFO,
};

/// What the wrapper itself is made of.
namespace detail {

inline void check(tollgate_result_t result) {
  if (result != TOLLGATE_OK) {
    throw Error(result, tollgate_last_error());
  }
}

template <auto Free> struct Freed {
  template <class T> void operator()(T *handle) const noexcept { Free(handle); }
};

template <class T, auto Free> using Owner = std::unique_ptr<T, Freed<Free>>;

/// Calls `make` with the place for a handle.
template <class T, class Make> T *made(Make make) {
  T *handle = nullptr;
  check(make(&handle));
  return handle;
}

inline std::string_view view(const tollgate_str_t &text) noexcept {
  return text.len == 0 ? std::string_view() : std::string_view(text.data, text.len);
}

inline std::vector<tollgate_str_t> strs(const std::vector<std::string> &texts) {
  std::vector<tollgate_str_t> strs;
  strs.reserve(texts.size());
  for (const std::string &text : texts) {
    strs.push_back({text.data(), text.size()});
  }
  return strs;
}

/// The text that `write` writes into a buffer; most fit the first one.
template <class Write> std::string written(Write write) {
  std::string text(256, '\0');
  std::size_t len = 0;
  tollgate_result_t result = write(text.data(), text.size(), &len);
  while (result == TOLLGATE_BUFFER_TOO_SMALL) {
    text.resize(len);
    result = write(text.data(), text.size(), &len);
  }
  check(result);
  text.resize(len);
  return text;
}

/// A callback on its way through C: exceptions stop the list, and wait in `thrown`.
template <class Function> struct Passed {
  Function &function;
  std::exception_ptr thrown = nullptr;

  template <class... Arguments> bool call(Arguments &&...arguments) noexcept {
    try {
      return function(std::forward<Arguments>(arguments)...);
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  }

  void end(tollgate_result_t result) {
    if (thrown) {
      std::rethrow_exception(thrown);
    }
    check(result);
  }
};

} // namespace detail

/// The version of the library that is loaded.
inline std::string_view version() noexcept { return tollgate_version(); }

/// The version of its ABI; `TOLLGATE_ABI_VERSION` is that of the header.
inline std::uint32_t abi_version() noexcept { return tollgate_abi_version(); }

/// Throws if the library that is loaded has another ABI than this header.
inline void check_abi() { detail::check(tollgate_check_abi(TOLLGATE_ABI_VERSION)); }

/// Writes a new token of the native format. Show it once; give stores its `Engine::digest`.
inline std::string generate_token() {
  return detail::written([](char *buffer, std::size_t capacity, std::size_t *len) {
    return tollgate_token_generate(nullptr, buffer, capacity, len);
  });
}

/// Sets where messages go, for the whole process; an empty function: nowhere. It may be called from any thread and must not
/// call the library; what it throws is dropped.
inline void set_log(std::function<void(LogLevel, std::string_view)> log) {
  using Log = std::function<void(LogLevel, std::string_view)>;
  static std::mutex mutex;
  static std::unique_ptr<Log> current;
  tollgate_log_fn pass = [](void *user, tollgate_log_level_t level, const char *message, std::size_t len) {
    try {
      (*static_cast<Log *>(user))(static_cast<LogLevel>(level), std::string_view(message, len));
    } catch (...) { // there is nobody to tell
    }
  };
  const std::lock_guard<std::mutex> guard(mutex);
  std::unique_ptr<Log> next = log ? std::make_unique<Log>(std::move(log)) : nullptr;
  detail::check(tollgate_set_log(next ? pass : nullptr, next.get()));
  current = std::move(next); // the one before is not called any more
}

/// A policy that compiles. See `tollgate_policy_t`.
class Policy {
public:
  /// Errors of the text are listed in `Error::what`, one a line.
  static Policy toml(std::string_view text) { return Policy(text, TOLLGATE_POLICY_TOML); }
  static Policy json(std::string_view text) { return Policy(text, TOLLGATE_POLICY_JSON); }
  /// A policy that comes with the library, such as `sms-gateway`.
  static Policy preset(std::string_view name) { return Policy(name, TOLLGATE_POLICY_PRESET); }

  /// Changes it by a JSON merge patch (RFC 7396), or leaves it as it was and throws.
  void patch(std::string_view json) { detail::check(tollgate_policy_patch(get(), json.data(), json.size())); }

  bool trusts_proxies() const noexcept { return tollgate_policy_trusts_proxies(get()); }

  /// What is legal and odd in it.
  std::vector<std::string> warnings() const {
    std::vector<std::string> warnings;
    for (std::size_t index = 0; index < tollgate_policy_warning_count(get()); ++index) {
      tollgate_str_t warning{};
      detail::check(tollgate_policy_warning(get(), index, &warning));
      warnings.emplace_back(detail::view(warning));
    }
    return warnings;
  }

  tollgate_policy_t *get() const noexcept { return owner_.get(); }

private:
  Policy(std::string_view text, tollgate_policy_format_t format)
      : owner_(detail::made<tollgate_policy_t>([&](tollgate_policy_t **policy) {
          return tollgate_policy_new(text.data(), text.size(), format, policy);
        })) {}

  detail::Owner<tollgate_policy_t, tollgate_policy_free> owner_;
};

/// Decides requests. Any number of threads may use it at once. See `tollgate_engine_t`.
class Engine {
public:
  /// `pepper`: at least 16 bytes, or none.
  explicit Engine(const Policy &policy, Bytes pepper = {})
      : owner_(detail::made<tollgate_engine_t>([&](tollgate_engine_t **engine) {
          return tollgate_engine_new(policy.get(), pepper.data(), pepper.size(), engine);
        })) {}

  /// Replaces the policy for all requests that begin from now on.
  void reload(const Policy &policy) const { detail::check(tollgate_engine_reload(get(), policy.get())); }

  /// The digest under which stores keep a token.
  Digest digest(std::string_view token) const {
    Digest digest{};
    detail::check(tollgate_engine_digest(get(), token.data(), token.size(), digest.data()));
    return digest;
  }

  tollgate_engine_t *get() const noexcept { return owner_.get(); }

private:
  detail::Owner<tollgate_engine_t, tollgate_engine_free> owner_;
};

/// The measures of a region for limits: see `tollgate_region_fit`.
struct Region {
  std::size_t cells = 0;
  std::size_t windows = 0;
  std::size_t size = 0;

  /// The region for so many cells, of which so many are windows.
  static Region of(std::size_t cells, std::size_t windows) {
    Region region{cells, windows, 0};
    detail::check(tollgate_region_size(cells, windows, &region.size));
    return region;
  }
  /// The largest that fits.
  static Region fit(std::size_t len) {
    Region region;
    detail::check(tollgate_region_fit(len, &region.cells, &region.windows, &region.size));
    return region;
  }
  /// Makes it, empty, in `size` bytes of memory that begin at a multiple of 8. Nobody is attached to it then.
  void create(void *memory) const {
    detail::check(tollgate_region_create(static_cast<std::uint8_t *>(memory), size, cells, windows, nullptr));
  }
};

/// Counts limits in a region of memory that processes share. See `tollgate_limits_t`.
class Limits {
public:
  /// To a region in memory, which outlives this and every store that is made of it.
  static Limits attach(void *memory, std::size_t len) {
    return Limits(detail::made<tollgate_limits_t>([&](tollgate_limits_t **limits) {
      return tollgate_limits_region_attach(static_cast<std::uint8_t *>(memory), len, limits);
    }));
  }
  /// To a region in a file, which is made if there is none.
  static Limits open(std::string_view path, const Region &region) {
    return Limits(detail::made<tollgate_limits_t>([&](tollgate_limits_t **limits) {
      return tollgate_limits_region_open(path.data(), path.size(), region.cells, region.windows, limits);
    }));
  }

  /// Gets back what processes held that have died; gives how many there were.
  std::size_t reclaim_dead(std::uint64_t now_ms) const {
    std::size_t processes = 0;
    detail::check(tollgate_limits_reclaim_dead(get(), now_ms, &processes));
    return processes;
  }

  tollgate_limits_t *get() const noexcept { return owner_.get(); }

private:
  explicit Limits(tollgate_limits_t *limits) noexcept : owner_(limits) {}

  detail::Owner<tollgate_limits_t, tollgate_limits_free> owner_;
};

/// How to speak with Redis or Valkey; what is left out is the default.
struct RedisOptions {
  std::string prefix;
  std::uint64_t connect_timeout_ms = 0;
  std::uint64_t response_timeout_ms = 0;
  std::size_t connections = 0;
  std::string root_certificates;
  bool cluster = false;

  /// Valid as long as this.
  tollgate_redis_options_t raw() const noexcept {
    tollgate_redis_options_t raw{};
    raw.struct_size = sizeof raw;
    raw.prefix = prefix.empty() ? nullptr : prefix.data();
    raw.prefix_len = prefix.size();
    raw.connect_timeout_ms = connect_timeout_ms;
    raw.response_timeout_ms = response_timeout_ms;
    raw.connections = connections;
    if (!root_certificates.empty()) {
      raw.root_certificates = reinterpret_cast<const std::uint8_t *>(root_certificates.data());
      raw.root_certificates_len = root_certificates.size();
    }
    raw.cluster = cluster ? 1 : 0;
    return raw;
  }
};

/// Speaks with a server whose bytes the host carries. See `tollgate_redis_t`.
class Redis {
public:
  explicit Redis(const RedisOptions &options = {})
      : owner_(detail::made<tollgate_redis_t>([&](tollgate_redis_t **redis) {
          const tollgate_redis_options_t raw = options.raw();
          return tollgate_redis_new(&raw, redis);
        })) {}

  tollgate_redis_t *get() const noexcept { return owner_.get(); }

private:
  detail::Owner<tollgate_redis_t, tollgate_redis_free> owner_;
};

/// A bound on what may be spent in a period.
struct SpendCap {
  std::uint64_t amount = 0;
  Period per = Period::day;
  bool shadow = false;
};

namespace detail {
inline std::vector<tollgate_spend_cap_t> caps(const std::vector<SpendCap> &caps) {
  std::vector<tollgate_spend_cap_t> raw;
  for (const SpendCap &cap : caps) {
    raw.push_back({cap.amount, static_cast<tollgate_period_t>(cap.per), static_cast<std::uint8_t>(cap.shadow)});
  }
  return raw;
}
} // namespace detail

/// Settings of an account to replace; what has no value stays as it is.
struct AccountSettings {
  std::optional<std::vector<std::string>> networks;
  std::optional<std::vector<SpendCap>> spend_caps;
  std::optional<std::vector<std::string>> senders;
};

/// A setting to replace, to take away (`clear`), or to leave as it is.
template <class T> struct Change {
  std::optional<T> value;
  bool clear = false;

  Change() = default;
  Change(T to) : value(std::move(to)) {}
  static Change none() {
    Change change;
    change.clear = true;
    return change;
  }
  std::uint8_t set() const noexcept { return clear ? TOLLGATE_CLEAR : value ? 1 : 0; }
};

/// A quota of a token's own.
struct Quota {
  std::uint64_t limit = 0;
  std::uint64_t window_ms = 0;
};

/// Settings of a token to replace; what has no value stays as it is.
struct TokenSettings {
  std::optional<std::vector<std::string>> scopes;
  std::optional<std::vector<std::string>> networks;
  std::optional<std::vector<SpendCap>> spend_caps;
  Change<Quota> quota;
  Change<std::uint64_t> expires_ms;
};

/// A token as a store keeps it.
struct Token {
  Digest digest{};
  std::vector<std::string> scopes;
  std::optional<std::uint64_t> expires_ms;
  bool revoked = false;
};

/// The upstream's response, to be kept for replays. It borrows: what it is made of outlives it.
class Response {
public:
  explicit Response(std::uint32_t status) noexcept : status_(status) {}

  Response &header(std::string_view name, std::string_view value) {
    headers_.push_back({name.data(), name.size(), value.data(), value.size()});
    return *this;
  }
  Response &body(Bytes body) noexcept {
    body_ = body;
    return *this;
  }
  /// The body was over the host's bound and is not kept.
  Response &body_omitted() noexcept {
    omitted_ = true;
    return *this;
  }

  /// Valid as long as this, unchanged.
  tollgate_response_t raw() const noexcept {
    tollgate_response_t raw{};
    raw.struct_size = sizeof raw;
    raw.status = status_;
    raw.body_omitted = omitted_ ? 1 : 0;
    raw.headers = headers_.data();
    raw.headers_len = headers_.size();
    raw.body = body_.data();
    raw.body_len = body_.size();
    return raw;
  }

private:
  std::uint32_t status_;
  bool omitted_ = false;
  std::vector<tollgate_header_t> headers_;
  Bytes body_;
};

/// How a request ended.
class Finish {
public:
  /// It was carried out and cost what was reserved.
  static Finish settle() noexcept { return Finish(TOLLGATE_SETTLE); }
  /// It was carried out and cost `amount`.
  static Finish settle(std::uint64_t amount) noexcept {
    Finish finish(TOLLGATE_SETTLE);
    finish.amount_ = amount;
    return finish;
  }
  /// It was not carried out, or costs nothing.
  static Finish give_up() noexcept { return Finish(TOLLGATE_VOID); }
  /// Nobody knows.
  static Finish unknown() noexcept { return Finish(TOLLGATE_UNKNOWN); }

  /// Keeps the upstream's response for replays.
  Finish &response(Response response) {
    response_ = std::move(response);
    return *this;
  }

  /// Gives it to `use`, which is called at once.
  template <class Use> auto with_raw(Use use) const {
    tollgate_finish_t raw{};
    raw.struct_size = sizeof raw;
    raw.outcome = outcome_;
    raw.has_amount = amount_ ? 1 : 0;
    raw.amount = amount_.value_or(0);
    tollgate_response_t response{};
    if (response_) {
      response = response_->raw();
      raw.response = &response;
    }
    return use(&raw);
  }

private:
  explicit Finish(tollgate_outcome_t outcome) noexcept : outcome_(outcome) {}

  tollgate_outcome_t outcome_;
  std::optional<std::uint64_t> amount_;
  std::optional<Response> response_;
};

/// Bounds of a store in memory; 0: the default.
struct MemoryOptions {
  std::size_t max_accounts = 0;
  std::size_t max_tokens = 0;
  std::size_t max_cells = 0;
  std::size_t max_claims = 0;
  std::size_t max_reservations = 0;
  std::size_t max_per_account = 0;
};

/// Options of a store on disk; 0: the default.
struct LmdbOptions {
  std::size_t map_bytes = 0;
  Sync sync = Sync::every_commit;
  std::uint64_t sync_interval_ms = 0;
  std::uint64_t max_accounts = 0;
  std::uint64_t max_tokens = 0;
  std::uint64_t max_cells = 0;
  std::uint64_t max_claims = 0;
  std::uint64_t max_reservations = 0;
  std::uint64_t max_per_account = 0;
  std::uint32_t max_readers = 0;
  bool read_only = false;
};

/// What a host's map throws where it cannot do what is asked; anything else that it throws counts as `unavailable`.
class HostFailure : public std::exception {
public:
  enum class Kind : tollgate_host_result_t {
    conflict = TOLLGATE_HOST_CONFLICT,
    full = TOLLGATE_HOST_FULL,
    unavailable = TOLLGATE_HOST_UNAVAILABLE,
    corrupt = TOLLGATE_HOST_CORRUPT,
  };
  explicit HostFailure(Kind kind) noexcept : kind_(kind) {}

  Kind kind() const noexcept { return kind_; }
  const char *what() const noexcept override { return "the map of the host failed"; }

private:
  Kind kind_;
};

/// An ordered map of bytes with transactions, of the host's own. See `tollgate_host_map_t` for what it promises.
class HostMap {
public:
  /// A transaction. It is destroyed after `commit`, or after `rollback`.
  class Transaction {
  public:
    virtual ~Transaction() = default;
    /// What is under a key. Valid until the next call on this transaction, as everything that is given here.
    virtual std::optional<Bytes> get(Bytes key) = 0;
    /// The first entry whose key is `key` or comes after it.
    virtual std::optional<std::pair<Bytes, Bytes>> first(Bytes key) = 0;
    virtual void put(Bytes key, Bytes value) = 0;
    /// False: it was not there.
    virtual bool remove(Bytes key) = 0;
    /// All changes, or none and an exception.
    virtual void commit() = 0;
    virtual void rollback() noexcept = 0;
    /// False: new records are refused.
    virtual bool has_room() { return true; }
  };

  virtual ~HostMap() = default;
  /// From any thread, several at once.
  virtual std::unique_ptr<Transaction> begin(bool writes) = 0;
};

/// Bounds of a store over a host's map; 0: the default.
struct HostOptions {
  std::uint64_t max_accounts = 0;
  std::uint64_t max_tokens = 0;
  std::uint64_t max_cells = 0;
  std::uint64_t max_claims = 0;
  std::uint64_t max_reservations = 0;
  std::uint64_t max_per_account = 0;
  std::uint32_t max_attempts = 0;
};

namespace detail {
/// Runs a function of the host's; what it throws becomes a result.
template <class Body> tollgate_host_result_t hosted(Body body) noexcept {
  try {
    return body();
  } catch (const HostFailure &failure) {
    return static_cast<tollgate_host_result_t>(failure.kind());
  } catch (...) {
    return TOLLGATE_HOST_UNAVAILABLE;
  }
}

inline HostMap::Transaction &transaction(void *given) noexcept { return *static_cast<HostMap::Transaction *>(given); }

inline tollgate_host_map_t host_map() noexcept {
  tollgate_host_map_t map{};
  map.struct_size = sizeof map;
  map.begin = [](void *user, bool writes, void **given) {
    return hosted([&] {
      *given = static_cast<HostMap *>(user)->begin(writes).release();
      return TOLLGATE_HOST_OK;
    });
  };
  map.get = [](void *given, const std::uint8_t *key, std::size_t key_len, const std::uint8_t **value,
               std::size_t *value_len) {
    return hosted([&] {
      const auto found = transaction(given).get(Bytes(key, key_len));
      if (!found) {
        return TOLLGATE_HOST_NOT_FOUND;
      }
      *value = found->data();
      *value_len = found->size();
      return TOLLGATE_HOST_OK;
    });
  };
  map.first = [](void *given, const std::uint8_t *key, std::size_t key_len, const std::uint8_t **found_key,
                 std::size_t *found_len, const std::uint8_t **value, std::size_t *value_len) {
    return hosted([&] {
      const auto found = transaction(given).first(Bytes(key, key_len));
      if (!found) {
        return TOLLGATE_HOST_NOT_FOUND;
      }
      *found_key = found->first.data();
      *found_len = found->first.size();
      *value = found->second.data();
      *value_len = found->second.size();
      return TOLLGATE_HOST_OK;
    });
  };
  map.put = [](void *given, const std::uint8_t *key, std::size_t key_len, const std::uint8_t *value,
               std::size_t value_len) {
    return hosted([&] {
      transaction(given).put(Bytes(key, key_len), Bytes(value, value_len));
      return TOLLGATE_HOST_OK;
    });
  };
  map.remove = [](void *given, const std::uint8_t *key, std::size_t key_len) {
    return hosted([&] {
      return transaction(given).remove(Bytes(key, key_len)) ? TOLLGATE_HOST_OK : TOLLGATE_HOST_NOT_FOUND;
    });
  };
  map.commit = [](void *given) {
    const std::unique_ptr<HostMap::Transaction> ended(&transaction(given));
    return hosted([&] {
      ended->commit();
      return TOLLGATE_HOST_OK;
    });
  };
  map.rollback = [](void *given) {
    const std::unique_ptr<HostMap::Transaction> ended(&transaction(given));
    ended->rollback();
  };
  map.check_room = [](void *given) {
    return hosted([&] { return transaction(given).has_room() ? TOLLGATE_HOST_OK : TOLLGATE_HOST_FULL; });
  };
  map.release = [](void *user) { delete static_cast<HostMap *>(user); };
  return map;
}
} // namespace detail

/// Where state lives, and how it is administered. Any number of threads may use it at once. See `tollgate_store_t`.
class Store {
public:
  /// In this process's memory.
  static Store memory(const MemoryOptions &options = {}) {
    tollgate_memory_options_t raw{};
    raw.struct_size = sizeof raw;
    raw.max_accounts = options.max_accounts;
    raw.max_tokens = options.max_tokens;
    raw.max_cells = options.max_cells;
    raw.max_claims = options.max_claims;
    raw.max_reservations = options.max_reservations;
    raw.max_per_account = options.max_per_account;
    return make([&](tollgate_store_t **store) { return tollgate_store_memory_new(&raw, store); });
  }
  /// On disk, in a directory that exists.
  static Store lmdb(std::string_view directory, const LmdbOptions &options = {}) {
    tollgate_lmdb_options_t raw{};
    raw.struct_size = sizeof raw;
    raw.map_bytes = options.map_bytes;
    raw.sync_interval_ms = options.sync_interval_ms;
    raw.max_accounts = options.max_accounts;
    raw.max_tokens = options.max_tokens;
    raw.max_cells = options.max_cells;
    raw.max_claims = options.max_claims;
    raw.max_reservations = options.max_reservations;
    raw.max_per_account = options.max_per_account;
    raw.max_readers = options.max_readers;
    raw.sync = static_cast<tollgate_sync_t>(options.sync);
    raw.read_only = options.read_only ? 1 : 0;
    return make([&](tollgate_store_t **store) {
      return tollgate_store_lmdb_open(directory.data(), directory.size(), &raw, store);
    });
  }
  /// On a Redis or Valkey server, or a cluster, by its URL.
  static Store redis(std::string_view url, const RedisOptions &options = {}) {
    const tollgate_redis_options_t raw = options.raw();
    return make([&](tollgate_store_t **store) {
      return tollgate_store_redis_open(url.data(), url.size(), &raw, store);
    });
  }
  /// Over a map of the host's own, which the store owns.
  static Store host(std::unique_ptr<HostMap> map, const HostOptions &options = {}) {
    tollgate_host_options_t raw{};
    raw.struct_size = sizeof raw;
    raw.max_accounts = options.max_accounts;
    raw.max_tokens = options.max_tokens;
    raw.max_cells = options.max_cells;
    raw.max_claims = options.max_claims;
    raw.max_reservations = options.max_reservations;
    raw.max_per_account = options.max_per_account;
    raw.max_attempts = options.max_attempts;
    const tollgate_host_map_t functions = detail::host_map();
    Store opened = make([&](tollgate_store_t **store) {
      return tollgate_store_host_open(&functions, map.get(), &raw, store);
    });
    static_cast<void>(map.release()); // `release` of the functions deletes it
    return opened;
  }
  /// Limits in `limits`, everything else in `accounts`; both are shared with it and may go.
  static Store composite(const Limits &limits, const Store &accounts) {
    return make([&](tollgate_store_t **store) {
      return tollgate_store_composite_new(limits.get(), accounts.get(), store);
    });
  }

  /// Reclaims what is due, and gives how many leases and keys ended. Call it every few seconds.
  std::uint64_t expire(std::uint64_t now_ms) const {
    std::uint64_t expired = 0;
    detail::check(tollgate_store_expire(get(), now_ms, &expired));
    return expired;
  }

  /// Creates an account, or replaces the settings that are given; the balance counts only at creation.
  void put_account(std::string_view account, std::uint64_t opening_balance, const AccountSettings &settings,
                   std::uint64_t now_ms) const {
    const std::vector<tollgate_str_t> networks = texts(settings.networks);
    const std::vector<tollgate_spend_cap_t> caps = spend_caps(settings.spend_caps);
    const std::vector<tollgate_str_t> senders = texts(settings.senders);
    tollgate_account_settings_t raw{};
    raw.struct_size = sizeof raw;
    raw.networks = networks.data();
    raw.networks_len = networks.size();
    raw.spend_caps = caps.data();
    raw.spend_caps_len = caps.size();
    raw.senders = senders.data();
    raw.senders_len = senders.size();
    raw.set_networks = settings.networks ? 1 : 0;
    raw.set_spend_caps = settings.spend_caps ? 1 : 0;
    raw.set_senders = settings.senders ? 1 : 0;
    detail::check(tollgate_account_put(get(), account.data(), account.size(), opening_balance, &raw, now_ms));
  }

  void deposit(std::string_view account, std::uint64_t amount, std::uint64_t now_ms) const {
    detail::check(tollgate_account_deposit(get(), account.data(), account.size(), amount, now_ms));
  }

  tollgate_wallet_t wallet(std::string_view account, std::uint64_t now_ms) const {
    tollgate_wallet_t wallet{};
    detail::check(tollgate_account_wallet(get(), account.data(), account.size(), now_ms, &wallet));
    return wallet;
  }

  /// Names after `after`, sorted by their bytes, at most `at_most`.
  std::vector<std::string> accounts(std::string_view after, std::size_t at_most, std::uint64_t now_ms) const {
    std::vector<std::string> names;
    each_account(after, at_most, now_ms, [&](std::string_view name) {
      names.emplace_back(name);
      return true;
    });
    return names;
  }
  /// The same one by one: `each` takes a `std::string_view`, and ends the list by giving false.
  template <class Each>
  void each_account(std::string_view after, std::size_t at_most, std::uint64_t now_ms, Each each) const {
    detail::Passed<Each> passed{each};
    passed.end(tollgate_account_list(
        get(), after.data(), after.size(), at_most, now_ms,
        [](void *user, const char *name, std::size_t len) {
          return static_cast<detail::Passed<Each> *>(user)->call(std::string_view(name, len));
        },
        &passed));
  }

  /// Creates a token of an account that exists, or replaces the settings that are given.
  void put_token(const Digest &digest, std::string_view account, const TokenSettings &settings,
                 std::uint64_t now_ms) const {
    const std::vector<tollgate_str_t> scopes = texts(settings.scopes);
    const std::vector<tollgate_str_t> networks = texts(settings.networks);
    const std::vector<tollgate_spend_cap_t> caps = spend_caps(settings.spend_caps);
    tollgate_token_settings_t raw{};
    raw.struct_size = sizeof raw;
    raw.scopes = scopes.data();
    raw.scopes_len = scopes.size();
    raw.networks = networks.data();
    raw.networks_len = networks.size();
    raw.spend_caps = caps.data();
    raw.spend_caps_len = caps.size();
    raw.quota_limit = settings.quota.value.value_or(Quota{}).limit;
    raw.quota_window_ms = settings.quota.value.value_or(Quota{}).window_ms;
    raw.expires_ms = settings.expires_ms.value.value_or(0);
    raw.set_scopes = settings.scopes ? 1 : 0;
    raw.set_networks = settings.networks ? 1 : 0;
    raw.set_spend_caps = settings.spend_caps ? 1 : 0;
    raw.set_quota = settings.quota.set();
    raw.set_expires = settings.expires_ms.set();
    detail::check(tollgate_token_put(get(), digest.data(), account.data(), account.size(), &raw, now_ms));
  }

  /// For good, from the moment this returns.
  void revoke_token(const Digest &digest, std::uint64_t now_ms) const {
    detail::check(tollgate_token_revoke(get(), digest.data(), now_ms));
  }

  /// Gives `next` the settings of `old`, which works for `grace_ms` more.
  void rotate_token(const Digest &old, const Digest &next, std::uint64_t grace_ms, std::uint64_t now_ms) const {
    detail::check(tollgate_token_rotate(get(), old.data(), next.data(), grace_ms, now_ms));
  }

  /// An account's tokens, by digest.
  std::vector<Token> tokens(std::string_view account, std::uint64_t now_ms) const {
    std::vector<Token> tokens;
    auto each = [&](const tollgate_token_t *given) {
      Token token;
      std::copy(given->digest, given->digest + 32, token.digest.begin());
      for (std::size_t index = 0; index < given->scopes_len; ++index) {
        token.scopes.emplace_back(detail::view(given->scopes[index]));
      }
      if (given->has_expiry) {
        token.expires_ms = given->expires_ms;
      }
      token.revoked = given->revoked;
      tokens.push_back(std::move(token));
      return true;
    };
    detail::Passed<decltype(each)> passed{each};
    passed.end(tollgate_token_list(
        get(), account.data(), account.size(), now_ms,
        [](void *user, const tollgate_token_t *token) {
          return static_cast<detail::Passed<decltype(each)> *>(user)->call(token);
        },
        &passed));
    return tokens;
  }

  /// An account's reservations, by number: the open ones, and the finished ones that are still kept.
  std::vector<tollgate_reservation_t> reservations(std::string_view account, std::uint64_t now_ms) const {
    std::vector<tollgate_reservation_t> reservations;
    auto each = [&](const tollgate_reservation_t *reservation) {
      reservations.push_back(*reservation);
      return true;
    };
    detail::Passed<decltype(each)> passed{each};
    passed.end(tollgate_reservation_list(
        get(), account.data(), account.size(), now_ms,
        [](void *user, const tollgate_reservation_t *reservation) {
          return static_cast<detail::Passed<decltype(each)> *>(user)->call(reservation);
        },
        &passed));
    return reservations;
  }

  /// Gives back a part of what was posted, once per `reference`.
  void refund(std::string_view account, std::uint64_t reservation, std::uint64_t amount, std::string_view reference,
              std::uint64_t now_ms) const {
    detail::check(tollgate_reservation_refund(get(), account.data(), account.size(), reservation, amount,
                                              reference.data(), reference.size(), now_ms));
  }

  /// An operator's word on a request whose end nobody reported; gives what was posted.
  std::optional<std::uint64_t> resolve(std::string_view account, std::uint64_t reservation, const Finish &finish,
                                       std::uint64_t now_ms) const {
    bool has_posted = false;
    std::uint64_t posted = 0;
    detail::check(finish.with_raw([&](const tollgate_finish_t *raw) {
      return tollgate_reservation_resolve(get(), account.data(), account.size(), reservation, raw, now_ms,
                                          &has_posted, &posted);
    }));
    return has_posted ? std::optional<std::uint64_t>(posted) : std::nullopt;
  }

  tollgate_store_t *get() const noexcept { return owner_.get(); }

private:
  explicit Store(tollgate_store_t *store) noexcept : owner_(store) {}

  template <class Make> static Store make(Make make) { return Store(detail::made<tollgate_store_t>(make)); }

  static std::vector<tollgate_str_t> texts(const std::optional<std::vector<std::string>> &texts) {
    return texts ? detail::strs(*texts) : std::vector<tollgate_str_t>();
  }
  static std::vector<tollgate_spend_cap_t> spend_caps(const std::optional<std::vector<SpendCap>> &caps) {
    return caps ? detail::caps(*caps) : std::vector<tollgate_spend_cap_t>();
  }

  detail::Owner<tollgate_store_t, tollgate_store_free> owner_;
};

/// What a host knows of one call. It borrows: what it is made of outlives it.
class Request {
public:
  Request(std::string_view method, std::string_view target, std::uint64_t now_ms) noexcept {
    raw_.struct_size = sizeof raw_;
    raw_.now_ms = now_ms;
    raw_.method = method.data();
    raw_.method_len = method.size();
    raw_.target = target.data();
    raw_.target_len = target.size();
  }

  /// In order of arrival.
  Request &header(std::string_view name, std::string_view value) {
    headers_.push_back({name.data(), name.size(), value.data(), value.size()});
    return *this;
  }
  /// Address of the TCP peer: 4 or 16 bytes in network order.
  Request &peer(Bytes address) noexcept {
    raw_.peer = address.data();
    raw_.peer_len = address.size();
    return *this;
  }
  /// Body, for the fingerprint of an idempotency key.
  Request &body(Bytes body) noexcept {
    raw_.body = body.data();
    raw_.body_len = body.size();
    return *this;
  }
  /// The SHA-256 of the body in its place.
  Request &body_sha256(const Digest &digest) noexcept {
    raw_.body_sha256 = digest.data();
    return *this;
  }
  /// Price of this call; the route's own otherwise.
  Request &cost(std::uint64_t cost) noexcept {
    raw_.cost = cost;
    raw_.has_cost = 1;
    return *this;
  }
  /// Decides and consumes nothing.
  Request &peek() noexcept {
    raw_.peek = 1;
    return *this;
  }
  /// The sender that the call names.
  Request &sender(std::string_view sender) noexcept {
    raw_.sender = sender.data();
    raw_.sender_len = sender.size();
    return *this;
  }
  /// The host's own refusal, with a message for the client.
  Request &invalid(std::string_view message) noexcept {
    raw_.invalid = message.data();
    raw_.invalid_len = message.size();
    return *this;
  }

  /// Valid as long as this, unchanged.
  tollgate_request_t raw() const noexcept {
    tollgate_request_t raw = raw_;
    raw.headers = headers_.data();
    raw.headers_len = headers_.size();
    return raw;
  }

private:
  tollgate_request_t raw_{};
  std::vector<tollgate_header_t> headers_;
};

/// What is to be done with one request. Any number of threads may read it at once. See `tollgate_decision_t`.
class Decision {
public:
  /// Takes over a handle.
  explicit Decision(tollgate_decision_t *decision) noexcept : owner_(decision) {}

  Verdict verdict() const noexcept { return static_cast<Verdict>(tollgate_decision_verdict(get())); }
  /// One of `enum tollgate_status`.
  tollgate_status_t status() const noexcept { return tollgate_decision_status(get()); }
  /// HTTP status to answer with; 200 for an allowed request.
  std::uint32_t http_status() const noexcept { return tollgate_decision_http_status(get()); }
  /// The status as a machine-readable word: `allowed`, `missing_token`, …. Static.
  std::string_view code() const noexcept { return tollgate_decision_code(get()); }
  /// Whether the request must be finished once it is known how it went.
  bool must_finish() const noexcept { return tollgate_decision_must_finish(get()); }
  /// Whether its response is to be captured for replays.
  bool holds_key() const noexcept { return tollgate_decision_holds_key(get()); }
  /// Bits `TOLLGATE_SHADOW_…`.
  std::uint32_t shadows() const noexcept { return tollgate_decision_shadows(get()); }

  std::optional<std::uint64_t> reserved() const noexcept { return number(tollgate_decision_reserved); }
  std::optional<std::uint64_t> reservation() const noexcept { return number(tollgate_decision_reservation); }
  std::optional<std::uint64_t> retry_at_ms() const noexcept { return number(tollgate_decision_retry_at); }

  /// The route that matched, as the policy names it; empty: none. Valid as long as the decision.
  std::string_view route() const & {
    tollgate_str_t route{};
    detail::check(tollgate_decision_route(get(), &route));
    return detail::view(route);
  }
  std::string_view route() const && = delete;
  /// The account's name; empty when the token is not known.
  std::string account() const { return text(tollgate_decision_account); }
  /// Why the store did not answer, for the operator; empty: it did.
  std::string store_error() const { return text(tollgate_decision_store_error); }
  /// Body of the answer; empty for an allowed request.
  std::string body() const { return text(tollgate_decision_body); }

  /// Headers of the answer; for an allowed request those to put on the upstream's response.
  std::vector<Header> headers() const {
    std::vector<tollgate_header_t> places(16);
    std::string buffer(1024, '\0');
    std::size_t count = 0;
    std::size_t used = 0;
    tollgate_result_t result = TOLLGATE_BUFFER_TOO_SMALL;
    while ((result = tollgate_decision_headers(get(), places.data(), places.size(), &count, buffer.data(),
                                               buffer.size(), &used)) == TOLLGATE_BUFFER_TOO_SMALL) {
      places.resize(std::max(places.size(), count));
      buffer.resize(std::max(buffer.size(), used));
    }
    detail::check(result);
    std::vector<Header> headers;
    headers.reserve(count);
    for (std::size_t index = 0; index < count; ++index) {
      const tollgate_header_t &one = places[index];
      headers.push_back({std::string(one.name, one.name_len), std::string(one.value, one.value_len)});
    }
    return headers;
  }

  /// Finishes the request on the store that admitted it, once; gives what was posted, unless the end is unknown.
  std::optional<std::uint64_t> finish(const Store &store, const Finish &finish, std::uint64_t now_ms) const {
    bool has_posted = false;
    std::uint64_t posted = 0;
    detail::check(finish.with_raw([&](const tollgate_finish_t *raw) {
      return tollgate_finish(get(), store.get(), raw, now_ms, &has_posted, &posted);
    }));
    return has_posted ? std::optional<std::uint64_t>(posted) : std::nullopt;
  }

  tollgate_decision_t *get() const noexcept { return owner_.get(); }

private:
  template <class Read> std::optional<std::uint64_t> number(Read read) const noexcept {
    std::uint64_t number = 0;
    return read(get(), &number) ? std::optional<std::uint64_t>(number) : std::nullopt;
  }
  template <class Write> std::string text(Write write) const {
    return detail::written([&](char *buffer, std::size_t capacity, std::size_t *len) {
      return write(get(), buffer, capacity, len);
    });
  }

  detail::Owner<tollgate_decision_t, tollgate_decision_free> owner_;
};

/// Decides a request on a store that answers at once.
inline Decision decide(const Engine &engine, const Store &store, const Request &request) {
  const tollgate_request_t raw = request.raw();
  return Decision(detail::made<tollgate_decision_t>([&](tollgate_decision_t **decision) {
    return tollgate_decide(engine.get(), store.get(), &raw, decision);
  }));
}

/// The ordered trace of a decision, of which nothing was consumed.
class Explanation {
public:
  /// One check. Valid as long as the explanation.
  struct Step {
    std::string_view check;
    std::string_view rule;
    std::string_view observed;
    std::string_view result;
    std::string_view fix;
  };

  Explanation(const Engine &engine, const Store &store, const Request &request)
      : owner_(detail::made<tollgate_explanation_t>([&](tollgate_explanation_t **explanation) {
          const tollgate_request_t raw = request.raw();
          return tollgate_explain(engine.get(), store.get(), &raw, explanation);
        })) {}

  std::vector<Step> steps() const & {
    std::vector<Step> steps;
    for (std::size_t index = 0; index < tollgate_explanation_step_count(get()); ++index) {
      tollgate_trace_step_t raw{};
      detail::check(tollgate_explanation_step(get(), index, &raw));
      steps.push_back({detail::view(raw.check), detail::view(raw.rule), detail::view(raw.observed),
                       detail::view(raw.result), detail::view(raw.fix)});
    }
    return steps;
  }

  std::vector<Step> steps() const && = delete; // they would outlive what they show

  /// The decision that would be made.
  Decision decision() const {
    return Decision(detail::made<tollgate_decision_t>(
        [&](tollgate_decision_t **decision) { return tollgate_explanation_decision(get(), decision); }));
  }

  tollgate_explanation_t *get() const noexcept { return owner_.get(); }

private:
  detail::Owner<tollgate_explanation_t, tollgate_explanation_free> owner_;
};

/// A decision, or its end, under way. One thread at a time, any. See `tollgate_operation_t`.
class Operation {
public:
  /// Begins to decide a request, which is copied. `look_up_first`: the token by a command of its own.
  static Operation decide(const Engine &engine, const Request &request, bool look_up_first = false) {
    const tollgate_request_t raw = request.raw();
    return Operation(detail::made<tollgate_operation_t>([&](tollgate_operation_t **operation) {
      return tollgate_operation_decide(engine.get(), &raw, look_up_first, operation);
    }));
  }
  /// Begins to finish a request that was allowed; everything is copied.
  static Operation finish(const Decision &decision, const Finish &finish, std::uint64_t now_ms) {
    return Operation(detail::made<tollgate_operation_t>([&](tollgate_operation_t **operation) {
      return finish.with_raw([&](const tollgate_finish_t *raw) {
        return tollgate_operation_finish(decision.get(), raw, now_ms, operation);
      });
    }));
  }

  /// What it asks for now.
  Command command() const noexcept { return static_cast<Command>(tollgate_operation_command(get())); }
  /// Whether the request's body counts for the command.
  bool wants_body() const noexcept { return tollgate_operation_wants_body(get()); }
  /// Has the command performed by a store, on this thread.
  void perform(const Store &store) { detail::check(tollgate_operation_perform(get(), store.get())); }
  /// Says that the command cannot be performed.
  void fail(std::string_view reason) {
    detail::check(tollgate_operation_fail(get(), reason.data(), reason.size()));
  }
  /// Gives the decision, once.
  Decision decision() {
    return Decision(detail::made<tollgate_decision_t>(
        [&](tollgate_decision_t **decision) { return tollgate_operation_decision(get(), decision); }));
  }
  /// Tells what was posted, once.
  std::optional<std::uint64_t> finished() {
    bool has_posted = false;
    std::uint64_t posted = 0;
    detail::check(tollgate_operation_finished(get(), &has_posted, &posted));
    return has_posted ? std::optional<std::uint64_t>(posted) : std::nullopt;
  }

  /// Bytes to send, and the key by whose slot a cluster routes them. Valid until the operation is resumed or gone.
  struct Call {
    std::string_view bytes;
    std::string_view key;
  };
  /// What became of bytes that came.
  struct Reply {
    /// How many belong to the call's reply; what follows is the next one's.
    std::size_t consumed = 0;
    /// Whether the reply is complete.
    bool complete = false;
  };

  /// Starts to perform the command on a server whose bytes the host carries. `nonce`: 16 bytes, or none.
  void redis_start(const Redis &redis, const std::array<std::uint8_t, 16> *nonce = nullptr) {
    detail::check(tollgate_operation_redis_start(get(), redis.get(), nonce ? nonce->data() : nullptr));
  }
  /// How many calls are to be sent now; 0: the command is performed.
  std::size_t redis_calls() const noexcept { return tollgate_operation_redis_calls(get()); }
  Call redis_call(std::size_t index) const {
    tollgate_str_t bytes{};
    tollgate_str_t key{};
    detail::check(tollgate_operation_redis_call(get(), index, &bytes, &key));
    return {detail::view(bytes), detail::view(key)};
  }
  /// Takes bytes that came for a call, as they come.
  Reply redis_reply(std::size_t index, Bytes bytes) {
    std::size_t consumed = 0;
    const tollgate_result_t result =
        tollgate_operation_redis_reply(get(), index, bytes.data(), bytes.size(), &consumed);
    if (result == TOLLGATE_NOT_READY) {
      return {bytes.size(), false};
    }
    detail::check(result);
    return {consumed, true};
  }
  /// Goes on with the replies that came.
  void redis_resume() { detail::check(tollgate_operation_redis_resume(get())); }

  tollgate_operation_t *get() const noexcept { return owner_.get(); }

private:
  explicit Operation(tollgate_operation_t *operation) noexcept : owner_(operation) {}

  detail::Owner<tollgate_operation_t, tollgate_operation_free> owner_;
};

} // namespace tollgate

/* The access phase: the decision, and the body where the decision needs it. */

#include "ngx_http_tollgate.h"

/* A decision on its way; in a thread it touches nothing but this, and the store. */
typedef struct {
    ngx_http_tollgate_ctx_t        *ctx;
    ngx_http_tollgate_main_conf_t  *tmcf;
    tollgate_engine_t              *engine;
    ngx_http_tollgate_asked_t       asked;
    tollgate_operation_t           *operation;
    tollgate_decision_t            *decision;
    tollgate_result_t               result;
    u_char                          error[256];
    unsigned                        stop_at_body:1;
    unsigned                        wants_body:1;
    unsigned                        no_store:1;
} ngx_http_tollgate_ask_t;

static ngx_int_t ngx_http_tollgate_begin(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx);
static void ngx_http_tollgate_ask(ngx_http_tollgate_ask_t *ask);
static ngx_int_t ngx_http_tollgate_step(ngx_http_tollgate_ask_t *ask, ngx_uint_t look_up_only);
static ngx_int_t ngx_http_tollgate_asked(ngx_http_request_t *r, ngx_http_tollgate_ask_t *ask);
static ngx_int_t ngx_http_tollgate_act(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx);
static ngx_int_t ngx_http_tollgate_read_body(ngx_http_request_t *r,
    ngx_http_tollgate_ctx_t *ctx);
static void ngx_http_tollgate_body_handler(ngx_http_request_t *r);
static void ngx_http_tollgate_free_ctx(void *data);
#if (NGX_THREADS)
static ngx_int_t ngx_http_tollgate_post(ngx_http_request_t *r, ngx_http_tollgate_ask_t *ask,
    ngx_thread_task_t *task);
#endif


ngx_int_t
ngx_http_tollgate_access_handler(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_tollgate_ctx_t       *ctx;
    ngx_http_tollgate_loc_conf_t  *tlcf;

    tlcf = ngx_http_get_module_loc_conf(r, ngx_http_tollgate_module);

    /* A subrequest is a part of its main request, which was decided. */

    if (!tlcf->enable || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_tollgate_get_ctx(r);

    if (ctx == NULL) {

        cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_tollgate_ctx_t));
        if (cln == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx = cln->data;
        ngx_memzero(ctx, sizeof(ngx_http_tollgate_ctx_t));
        cln->handler = ngx_http_tollgate_free_ctx;

        ctx->tmcf = ngx_http_get_module_main_conf(r, ngx_http_tollgate_module);
        ctx->tlcf = tlcf;
        ctx->request = r;
        ctx->length = -1;

        ngx_http_set_ctx(r, ctx, ngx_http_tollgate_module);
    }

    switch (ctx->state) {

    case NGX_HTTP_TOLLGATE_NEW:
        return ngx_http_tollgate_begin(r, ctx);

    case NGX_HTTP_TOLLGATE_ASKING:
        return NGX_AGAIN;

    case NGX_HTTP_TOLLGATE_ASKED:
        return ngx_http_tollgate_asked(r, ctx->ask);

    case NGX_HTTP_TOLLGATE_READING:
        return NGX_DONE;

    case NGX_HTTP_TOLLGATE_DECIDED:
        return ngx_http_tollgate_act(r, ctx);

    case NGX_HTTP_TOLLGATE_LET_THROUGH:
        return NGX_OK;

    default: /* an error page of an answer that was left to nginx */
        return NGX_DECLINED;
    }
}


/* An internal redirect forgets contexts, but not what cleans up behind the request. */

ngx_http_tollgate_ctx_t *
ngx_http_tollgate_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_tollgate_ctx_t  *ctx;

    r = r->main;
    ctx = ngx_http_get_module_ctx(r, ngx_http_tollgate_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_tollgate_free_ctx) {
            ngx_http_set_ctx(r, cln->data, ngx_http_tollgate_module);
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_http_tollgate_free_ctx(void *data)
{
    ngx_http_tollgate_ctx_t  *ctx = data;

    if (ctx->ticket) {
        ctx->ticket->ctx = NULL;
        ngx_http_tollgate_unref_ticket(ctx->ticket);
        return;
    }

    tollgate_decision_free(ctx->decision);
}


static ngx_int_t
ngx_http_tollgate_begin(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx)
{
    ngx_http_tollgate_ask_t        *ask;
    ngx_http_tollgate_main_conf_t  *tmcf;
#if (NGX_THREADS)
    ngx_thread_task_t              *task;
#endif

    tmcf = ctx->tmcf;

#if (NGX_THREADS)

    task = NULL;

    if (tmcf->pooled) {
        task = ngx_thread_task_alloc(r->pool, sizeof(ngx_http_tollgate_ask_t));
        if (task == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ask = task->ctx;

    } else

#endif

    {
        ask = ngx_palloc(r->pool, sizeof(ngx_http_tollgate_ask_t));
        if (ask == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ask->ctx = ctx;
    ask->tmcf = tmcf;
    ask->engine = ctx->tlcf->engine->engine;
    ask->operation = NULL;
    ask->decision = NULL;
    ask->result = TOLLGATE_OK;
    ask->error[0] = '\0';
    ask->wants_body = 0;
    ask->no_store = 0;

    if (ngx_http_tollgate_ask_about(r, ctx->tlcf, &ask->asked) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* Nobody needs a body's hash without a key, and a body that nobody needs is streamed. */

    ask->stop_at_body = !ctx->body_read && ngx_http_tollgate_has_body(r)
                        && ngx_http_tollgate_find_header(&r->headers_in.headers,
                                                         "idempotency-key", 15) != NULL;

    if (ctx->body_read && ngx_http_tollgate_add_body(r, &ask->asked) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

#if (NGX_THREADS)

    if (task) {

        /* Where look-ups do not wait, only what is left after them is worth a thread. */

        if (!tmcf->pooled_reads && ngx_http_tollgate_step(ask, 1) == NGX_OK) {
            return ngx_http_tollgate_asked(r, ask);
        }

        return ngx_http_tollgate_post(r, ask, task);
    }

#endif

    ngx_http_tollgate_ask(ask);

    return ngx_http_tollgate_asked(r, ask);
}


/* ---- asking: also in threads ----------------------------------------------------------------- */

static void
ngx_http_tollgate_ask(ngx_http_tollgate_ask_t *ask)
{
    tollgate_store_t  *store;

    store = ngx_http_tollgate_get_store(ask->tmcf);

    if (store && !ask->stop_at_body && ask->operation == NULL) {

        ask->result = tollgate_decide(ask->engine, store, &ask->asked.request, &ask->decision);

        if (ask->result != TOLLGATE_OK) {
            ngx_cpystrn(ask->error, (u_char *) tollgate_last_error(), sizeof(ask->error));
        }

        return;
    }

    (void) ngx_http_tollgate_step(ask, 0);
}


/* NGX_AGAIN: what comes next may write, and only the look-up was wanted. */

static ngx_int_t
ngx_http_tollgate_step(ngx_http_tollgate_ask_t *ask, ngx_uint_t look_up_only)
{
    tollgate_store_t    *store;
    tollgate_result_t    result;
    tollgate_command_t   command;

    static const char    reason[] = "nginx could not open it; its error log says why";

    store = ngx_http_tollgate_get_store(ask->tmcf);
    result = TOLLGATE_OK;

    if (ask->operation == NULL) {
        result = tollgate_operation_decide(ask->engine, &ask->asked.request,
                                           ask->stop_at_body ? true : false, &ask->operation);
    }

    while (result == TOLLGATE_OK) {

        command = tollgate_operation_command(ask->operation);

        if (command == TOLLGATE_COMMAND_NONE) {
            result = tollgate_operation_decision(ask->operation, &ask->decision);
            break;
        }

        if (ask->stop_at_body && tollgate_operation_wants_body(ask->operation)) {
            ask->wants_body = 1;
            break;
        }

        if (look_up_only && command != TOLLGATE_COMMAND_LOOKUP) {
            return NGX_AGAIN;
        }

        if (store) {
            result = tollgate_operation_perform(ask->operation, store);

        } else {
            ask->no_store = 1;
            result = tollgate_operation_fail(ask->operation, reason, sizeof(reason) - 1);
        }
    }

    if (result != TOLLGATE_OK) {
        ngx_cpystrn(ask->error, (u_char *) tollgate_last_error(), sizeof(ask->error));
    }

    ask->result = result;
    tollgate_operation_free(ask->operation);
    ask->operation = NULL;

    return NGX_OK;
}


/* ---- in a thread: the request stays until the answer is there ---------------------------------- */

#if (NGX_THREADS)

static void
ngx_http_tollgate_ask_thread(void *data, ngx_log_t *log)
{
    (void) log;
    ngx_http_tollgate_ask(data);
}


static void
ngx_http_tollgate_ask_done(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    ngx_http_request_t       *r;
    ngx_http_tollgate_ask_t  *ask;

    if (ngx_http_tollgate_task_runs(ev)) {
        return;
    }

    ask = ev->data;
    r = ask->ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->main->blocked--;
    r->aio = 0;

    if (ask->ctx->closed) {

        /* The client has left meanwhile: what was reserved is not needed. */

        ask->ctx->decision = ask->decision;

        if (ask->decision && tollgate_decision_must_finish(ask->decision)
            && ngx_http_tollgate_open_ticket(ask->ctx) != NULL)
        {
            ask->ctx->closed = 0;
            ngx_http_tollgate_cleanup(ask->ctx);
        }

        r->write_event_handler(r);
        ngx_http_run_posted_requests(c);

        return;
    }

    ask->ctx->ask = ask;
    ask->ctx->state = NGX_HTTP_TOLLGATE_ASKED;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_tollgate_post(ngx_http_request_t *r, ngx_http_tollgate_ask_t *ask,
    ngx_thread_task_t *task)
{
    if (ngx_http_tollgate_add_cleanup(ask->ctx) != NGX_OK) {
        tollgate_operation_free(ask->operation);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    task->handler = ngx_http_tollgate_ask_thread;
    task->event.handler = ngx_http_tollgate_ask_done;
    task->event.data = ask;

    if (ngx_http_tollgate_post_task(ask->tmcf, task) != NGX_OK) {
        tollgate_operation_free(ask->operation);
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "tollgate: the threads' queue is full; raise max_queue of \"thread_pool\"");
        ask->operation = NULL;
        ask->result = TOLLGATE_STORE_UNAVAILABLE;
        return ngx_http_tollgate_asked(r, ask);
    }

    ask->ctx->state = NGX_HTTP_TOLLGATE_ASKING;

    r->main->blocked++;
    r->aio = 1;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_AGAIN;
}

#endif


/* ---- what came of it ---------------------------------------------------------------------------- */

static ngx_int_t
ngx_http_tollgate_asked(ngx_http_request_t *r, ngx_http_tollgate_ask_t *ask)
{
    ngx_int_t                 may_fail;
    ngx_http_tollgate_ctx_t  *ctx;

    ctx = ask->ctx;
    may_fail = ctx->tlcf->fail == NGX_HTTP_TOLLGATE_FAIL_OPEN;

    if (ask->wants_body) {
        return ngx_http_tollgate_read_body(r, ctx);
    }

    if (ask->result != TOLLGATE_OK || ask->decision == NULL) {

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "tollgate could not decide: %s %s",
                      tollgate_result_name(ask->result), ask->error);

        ctx->state = may_fail ? NGX_HTTP_TOLLGATE_LET_THROUGH : NGX_HTTP_TOLLGATE_ANSWERED;

        return may_fail ? NGX_OK : ngx_http_tollgate_unavailable(r);
    }

    ctx->decision = ask->decision;

    if (ask->no_store && may_fail
        && tollgate_decision_status(ctx->decision) == TOLLGATE_STATUS_STORE_UNAVAILABLE)
    {
        ctx->state = NGX_HTTP_TOLLGATE_LET_THROUGH;
        return NGX_OK;
    }

    if (tollgate_decision_must_finish(ctx->decision)
        && ngx_http_tollgate_open_ticket(ctx) == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (tollgate_decision_holds_key(ctx->decision)) {

        /* What is kept must be the whole answer, in no client's own form. */

        r->disable_not_modified = 1;

        if (ngx_http_tollgate_remove_range(r) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ctx->state = NGX_HTTP_TOLLGATE_DECIDED;

    return ngx_http_tollgate_act(r, ctx);
}


static ngx_int_t
ngx_http_tollgate_act(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx)
{
    ngx_uint_t                 status;
    tollgate_verdict_t         verdict;
    ngx_http_core_loc_conf_t  *clcf;

    verdict = tollgate_decision_verdict(ctx->decision);

    if (verdict == TOLLGATE_ALLOW) {
        return NGX_OK;
    }

    ctx->state = NGX_HTTP_TOLLGATE_ANSWERED;

    if (verdict == TOLLGATE_DENY) {

        status = tollgate_decision_http_status(ctx->decision);
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        /* With `satisfy any` another module may still let it in; nginx writes the answer then. */

        if (ctx->tlcf->intercept
            || (clcf->satisfy == NGX_HTTP_SATISFY_ANY
                && (status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN)))
        {
            if (ngx_http_tollgate_add_headers(r, ctx->decision) != NGX_OK) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            return (ngx_int_t) status;
        }
    }

    ngx_http_finalize_request(r, ngx_http_tollgate_answer(r, ctx));

    return NGX_DONE;
}


/* ---- the body ---------------------------------------------------------------------------------- */

static ngx_int_t
ngx_http_tollgate_read_body(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx)
{
    ngx_int_t  rc;

    ctx->state = NGX_HTTP_TOLLGATE_READING;

    rc = ngx_http_read_client_request_body(r, ngx_http_tollgate_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ctx->state = NGX_HTTP_TOLLGATE_ANSWERED;
        return rc;
    }

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


static void
ngx_http_tollgate_body_handler(ngx_http_request_t *r)
{
    ngx_http_tollgate_ctx_t  *ctx;

    ctx = ngx_http_tollgate_get_ctx(r);

    ctx->body_read = 1;
    ctx->state = NGX_HTTP_TOLLGATE_NEW;

    r->preserve_body = 1;
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}

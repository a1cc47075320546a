/* How a request ended, and its settlement: once, whatever happens. */

#include "ngx_http_tollgate.h"

/* What became of a request that was let through. */
typedef enum {
    NGX_HTTP_TOLLGATE_NOT_BEGUN = 0,  /* nobody was asked to carry it out */
    NGX_HTTP_TOLLGATE_LOCAL,          /* nginx itself answers: a file, say */
    NGX_HTTP_TOLLGATE_NO_ANSWER,      /* it was sent, and may have been carried out */
    NGX_HTTP_TOLLGATE_UPSTREAM        /* an upstream answered */
} ngx_http_tollgate_fate_e;

static void ngx_http_tollgate_charge(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx);
static void ngx_http_tollgate_finish(ngx_http_tollgate_ticket_t *ticket, ngx_uint_t may_wait);
static void ngx_http_tollgate_finished(ngx_http_tollgate_ticket_t *ticket);
#if (NGX_THREADS)
static ngx_int_t ngx_http_tollgate_post_settlement(ngx_http_tollgate_ticket_t *ticket);
#endif


ngx_http_tollgate_ticket_t *
ngx_http_tollgate_open_ticket(ngx_http_tollgate_ctx_t *ctx)
{
    ngx_http_tollgate_ticket_t  *ticket;

    ticket = ngx_calloc(sizeof(ngx_http_tollgate_ticket_t), ctx->request->connection->log);

    if (ticket == NULL || ngx_http_tollgate_add_cleanup(ctx) != NGX_OK) {
        ngx_free(ticket);
        return NULL;
    }

    ticket->tmcf = ctx->tmcf;
    ticket->ctx = ctx;
    ticket->decision = ctx->decision;
    ticket->refs = 1;
    ticket->holds_key = tollgate_decision_holds_key(ctx->decision) ? 1 : 0;
    ticket->body_max = ctx->tlcf->max_response_body;

    ngx_queue_insert_tail(&ctx->tmcf->tickets, &ticket->queue);
    ctx->ticket = ticket;

    return ticket;
}


ngx_int_t
ngx_http_tollgate_add_cleanup(ngx_http_tollgate_ctx_t *ctx)
{
    ngx_http_cleanup_t  *cln;

    if (ctx->cleanup_added) {
        return NGX_OK;
    }

    cln = ngx_http_cleanup_add(ctx->request, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_tollgate_cleanup;
    cln->data = ctx;
    ctx->cleanup_added = 1;

    return NGX_OK;
}


void
ngx_http_tollgate_unref_ticket(ngx_http_tollgate_ticket_t *ticket)
{
    if (--ticket->refs) {
        return;
    }

    tollgate_decision_free(ticket->decision);
    ngx_free(ticket->headers);
    ngx_free(ticket->body);
    ngx_free(ticket);
}


/* ---- the rule ---------------------------------------------------------------------------------- */

/*
 * nginx's own 502 and 504 look like an upstream's. What tells them apart is whether the last one
 * that was tried has given a whole and valid head (`header_time`); and what tells whether any of
 * them can have done something is whether a byte was sent to it.
 */

static ngx_http_tollgate_fate_e
ngx_http_tollgate_fate(ngx_http_request_t *r)
{
    ngx_uint_t                  i, tried, sent;
    ngx_http_upstream_t        *u;
    ngx_http_core_main_conf_t  *cmcf;
    ngx_http_upstream_state_t  *state;

    u = r->upstream;

    if (u == NULL) {
        cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

        if (r->phase_handler < 0
            || cmcf->phase_engine.handlers[r->phase_handler].checker
               != ngx_http_core_content_phase)
        {
            return NGX_HTTP_TOLLGATE_NOT_BEGUN;
        }

        return NGX_HTTP_TOLLGATE_LOCAL;
    }

    tried = 0;
    sent = u->peer.connection && u->peer.connection->sent > 0;

    if (r->upstream_states) {

        state = r->upstream_states->elts;

        for (i = 0; i < r->upstream_states->nelts; i++) {
            tried |= state[i].peer != NULL;
            sent |= state[i].bytes_sent > 0;
        }
    }

    if (tried && u->state && u->state->peer && u->state->header_time != (ngx_msec_t) -1) {
        return NGX_HTTP_TOLLGATE_UPSTREAM;
    }

    if (sent) {
        return NGX_HTTP_TOLLGATE_NO_ANSWER;
    }

    /* Out of a cache, or nobody could be reached. */

    return !tried && r->headers_out.status && r->headers_out.status < NGX_HTTP_BAD_REQUEST
           ? NGX_HTTP_TOLLGATE_LOCAL : NGX_HTTP_TOLLGATE_NOT_BEGUN;
}


/* By the head of the response, before it is sent. */

void
ngx_http_tollgate_judge(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx)
{
    ngx_uint_t  status;

    ctx->head_seen = 1;
    status = r->headers_out.status;

    switch (ngx_http_tollgate_fate(r)) {

    case NGX_HTTP_TOLLGATE_NOT_BEGUN:
        ctx->outcome = TOLLGATE_VOID;
        ctx->no_response = 1;
        return;

    case NGX_HTTP_TOLLGATE_NO_ANSWER:
        ctx->outcome = TOLLGATE_UNKNOWN;
        ctx->no_response = 1;
        return;

    case NGX_HTTP_TOLLGATE_UPSTREAM:
        if (r->upstream->headers_in.status_n) {
            status = r->upstream->headers_in.status_n;
        }

        break;

    case NGX_HTTP_TOLLGATE_LOCAL:
        break;
    }

    if (status < NGX_HTTP_BAD_REQUEST) {
        ctx->outcome = TOLLGATE_SETTLE;
        ctx->no_response = status < NGX_HTTP_OK;
        ngx_http_tollgate_charge(r, ctx);
        return;
    }

    ctx->outcome = TOLLGATE_VOID;
}


static void
ngx_http_tollgate_charge(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx)
{
    uint64_t                     amount;
    ngx_str_t                    text;
    ngx_http_tollgate_ticket_t  *ticket;

    ticket = ctx->ticket;

    if (ctx->tlcf->charge == NULL
        || ngx_http_complex_value(r, ctx->tlcf->charge, &text) != NGX_OK || text.len == 0)
    {
        return;
    }

    if (ngx_http_tollgate_parse_amount(&text, &amount) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "\"tollgate_charge\" gave \"%V\", which is no amount; all that was "
                      "reserved is charged", &text);
        return;
    }

    ticket->finish.has_amount = true;
    ticket->finish.amount = amount;
}


/* The end: of the whole response, or (`whole` is 0) of what is known of it. */

void
ngx_http_tollgate_end(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx, ngx_uint_t whole)
{
    ngx_http_tollgate_ticket_t  *ticket;

    (void) r;

    ticket = ctx->ticket;
    ctx->ended = 1;

    ticket->finish.struct_size = sizeof(tollgate_finish_t);
    ticket->finish.outcome = ctx->outcome;
    ticket->finish.has_amount = ticket->finish.has_amount && ctx->outcome == TOLLGATE_SETTLE;

    if (!ticket->holds_key || ctx->no_response) {
        return;
    }

    ticket->response.body_omitted = ticket->too_long || !whole;

    if (!ticket->response.body_omitted) {
        ticket->response.body = ticket->body;
        ticket->response.body_len = ticket->body_len;
    }

    ticket->finish.response = &ticket->response;
}


/* ---- settling ------------------------------------------------------------------------------------ */

/* NGX_AGAIN: it is on its way, and ngx_http_tollgate_release() is called when it is done. */

ngx_int_t
ngx_http_tollgate_settle(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx)
{
    ngx_http_tollgate_ticket_t  *ticket;

    ticket = ctx->ticket;
    ticket->settled = 1;
    ticket->now_ms = ngx_http_tollgate_now_ms();
    ticket->log = ngx_cycle->log;
    ngx_queue_remove(&ticket->queue);

#if (NGX_THREADS)

    if (ctx->tmcf->pooled && ngx_http_tollgate_post_settlement(ticket) == NGX_OK) {
        ctx->settling = 1;
        r->main->blocked++;
        r->aio = 1;

        return NGX_AGAIN;
    }

#else
    (void) r;
#endif

    ngx_http_tollgate_finish(ticket, 0);
    ngx_http_tollgate_finished(ticket);

    return NGX_OK;
}


/* Nobody waits for it. */

void
ngx_http_tollgate_settle_apart(ngx_http_tollgate_ticket_t *ticket)
{
    ticket->settled = 1;
    ticket->now_ms = ngx_http_tollgate_now_ms();
    ticket->log = ngx_cycle->log;
    ngx_queue_remove(&ticket->queue);

#if (NGX_THREADS)

    if (ticket->tmcf->pooled && !ticket->tmcf->leaving
        && ngx_http_tollgate_post_settlement(ticket) == NGX_OK)
    {
        return;
    }

#endif

    ngx_http_tollgate_finish(ticket, 0);
    ngx_http_tollgate_finished(ticket);
}


/* In whichever thread. The same outcome again is safe; a refusal is final. */

static void
ngx_http_tollgate_finish(ngx_http_tollgate_ticket_t *ticket, ngx_uint_t may_wait)
{
    ngx_uint_t         i;
    tollgate_store_t  *store;

    static ngx_msec_t  pauses[] = { 50, 400, 0 };

    for (i = 0; i < 3; i++) {

        store = ngx_http_tollgate_get_store(ticket->tmcf);

        if (store == NULL) {
            ticket->result = TOLLGATE_STORE_UNAVAILABLE;

        } else {
            ticket->result = tollgate_finish(ticket->decision, store, &ticket->finish,
                                             ticket->now_ms, &ticket->has_posted,
                                             &ticket->posted);
        }

        if (ticket->result == TOLLGATE_OK) {
            return;
        }

        if (ticket->result == TOLLGATE_MORE_THAN_RESERVED && ticket->finish.has_amount) {
            ngx_log_error(NGX_LOG_ERR, ticket->log, 0,
                          "\"tollgate_charge\" gave %uL, which is more than was reserved; what was "
                          "reserved is charged", ticket->finish.amount);
            ticket->finish.has_amount = false;
            continue;
        }

        if (!may_wait || ticket->result < TOLLGATE_STORE_UNAVAILABLE
            || ticket->result >= TOLLGATE_UNKNOWN_ACCOUNT)
        {
            break;
        }

        ngx_msleep(pauses[i]);
    }

    ngx_log_error(NGX_LOG_ERR, ticket->log, 0,
                  "tollgate could not settle a request: %s: %s; it ends with its lease",
                  tollgate_result_name(ticket->result), tollgate_last_error());
}


static void
ngx_http_tollgate_finished(ngx_http_tollgate_ticket_t *ticket)
{
    ngx_http_tollgate_ctx_t  *ctx;

    ctx = ticket->ctx;

    if (ctx && ticket->result == TOLLGATE_OK && ticket->has_posted) {
        ctx->has_posted = 1;
        ctx->posted = ticket->posted;
    }
}


#if (NGX_THREADS)

static void
ngx_http_tollgate_settle_thread(void *data, ngx_log_t *log)
{
    ngx_http_tollgate_ticket_t  *ticket = *(ngx_http_tollgate_ticket_t **) data;

    (void) log;
    ngx_http_tollgate_finish(ticket, 1);
}


static void
ngx_http_tollgate_settled(ngx_event_t *ev)
{
    ngx_connection_t            *c;
    ngx_thread_task_t           *task;
    ngx_http_request_t          *r;
    ngx_http_tollgate_ctx_t     *ctx;
    ngx_http_tollgate_ticket_t  *ticket;

    if (ngx_http_tollgate_task_runs(ev)) {
        return;
    }

    task = ev->data;
    ticket = *(ngx_http_tollgate_ticket_t **) task->ctx;
    ctx = ticket->ctx;
    ngx_free(task);

    ngx_http_tollgate_finished(ticket);

    if (ctx && ctx->settling) {

        r = ctx->request;
        c = r->connection;
        ctx->settling = 0;

        ngx_http_set_log_request(c->log, r);

        r->main->blocked--;
        r->aio = 0;

        if (!ctx->closed) {
            ngx_http_tollgate_release(r, ctx);
        }

        ngx_http_tollgate_unref_ticket(ticket);

        r->write_event_handler(r);
        ngx_http_run_posted_requests(c);

        return;
    }

    ngx_http_tollgate_unref_ticket(ticket);
}


static ngx_int_t
ngx_http_tollgate_post_settlement(ngx_http_tollgate_ticket_t *ticket)
{
    ngx_thread_task_t  *task;

    task = ngx_calloc(sizeof(ngx_thread_task_t) + sizeof(ticket), ngx_cycle->log);
    if (task == NULL) {
        return NGX_ERROR;
    }

    task->ctx = task + 1;
    *(ngx_http_tollgate_ticket_t **) task->ctx = ticket;

    task->handler = ngx_http_tollgate_settle_thread;
    task->event.handler = ngx_http_tollgate_settled;
    task->event.data = task;

    ticket->refs++;

    if (ngx_http_tollgate_post_task(ticket->tmcf, task) != NGX_OK) {
        ticket->refs--;
        ngx_free(task);
        return NGX_ERROR;
    }

    return NGX_OK;
}

#endif


/* ---- requests that end before their response ----------------------------------------------------- */

/* The request is given up: its client left, its upstream broke off, or this worker stops. */

void
ngx_http_tollgate_cleanup(void *data)
{
    ngx_http_tollgate_ctx_t *ctx = data;

    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (ctx->closed) {
        return;
    }

    ctx->closed = 1;

    if (ctx->ticket == NULL || ctx->ticket->settled) {
        return;
    }

    r = ctx->request;
    c = r->connection;

    if (!ctx->head_seen) {
        ctx->no_response = 1;

        switch (ngx_http_tollgate_fate(r)) {
        case NGX_HTTP_TOLLGATE_NOT_BEGUN:
            ctx->outcome = TOLLGATE_VOID;
            break;
        default:
            ctx->outcome = TOLLGATE_UNKNOWN;
        }

        ngx_http_tollgate_end(r, ctx, 0);

    } else if (c->error || c->timedout || ctx->client_gone || ctx->no_response) {

        /* It is the client who did not get all of an answer that began well. */

        ngx_http_tollgate_end(r, ctx, 0);

    } else {
        ctx->outcome = TOLLGATE_UNKNOWN;
        ctx->no_response = 1;
        ngx_http_tollgate_end(r, ctx, 0);
    }

    ngx_http_tollgate_settle_apart(ctx->ticket);
}


/* A worker that stops at once leaves its requests where they are. */

void
ngx_http_tollgate_settle_all(ngx_http_tollgate_main_conf_t *tmcf)
{
    ngx_queue_t                 *q;
    ngx_http_tollgate_ticket_t  *ticket;

    tmcf->leaving = 1;

    while (!ngx_queue_empty(&tmcf->tickets)) {

        q = ngx_queue_head(&tmcf->tickets);
        ticket = ngx_queue_data(q, ngx_http_tollgate_ticket_t, queue);

        ngx_http_tollgate_cleanup(ticket->ctx);

        if (ticket->result != TOLLGATE_OK && ticket->result < TOLLGATE_UNKNOWN_ACCOUNT) {
            break; /* a store that does not answer is not asked a thousand times */
        }
    }
}

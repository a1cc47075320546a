/* The response on its way out: headers, capture, and its end, which waits for the settlement. */

#include "ngx_http_tollgate.h"

#define NGX_HTTP_TOLLGATE_BUFFERED  0x08

static ngx_int_t ngx_http_tollgate_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_tollgate_body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static ngx_int_t ngx_http_tollgate_hold(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx,
    ngx_chain_t *in);
static ngx_int_t ngx_http_tollgate_pass(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx,
    ngx_chain_t *in);
static void ngx_http_tollgate_swallow(ngx_chain_t *in);

static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


void
ngx_http_tollgate_init_filters(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_tollgate_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_tollgate_body_filter;
}


static ngx_int_t
ngx_http_tollgate_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t                status, no_body;
    ngx_http_tollgate_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_tollgate_get_ctx(r);

    if (ctx == NULL || ctx->state != NGX_HTTP_TOLLGATE_DECIDED) {
        return ngx_http_next_header_filter(r);
    }

    if (ctx->ticket && !ctx->ticket->settled && !ctx->head_seen) {

        ngx_http_tollgate_judge(r, ctx);

        if (ctx->ticket->holds_key && !ctx->no_response) {

            if (ngx_http_tollgate_keep_head(r, ctx) != NGX_OK) {
                return NGX_ERROR;
            }

            r->filter_need_in_memory = 1;
        }
    }

    if (ngx_http_tollgate_add_headers(r, ctx->decision) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->ticket == NULL || ctx->ticket->settled) {
        return ngx_http_next_header_filter(r);
    }

    status = r->headers_out.status;
    ctx->length = r->headers_out.content_length_n;

    if (status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        ngx_http_tollgate_end(r, ctx, 1);
        ngx_http_tollgate_settle_apart(ctx->ticket);
        return ngx_http_next_header_filter(r);
    }

    no_body = r->header_only || r->method == NGX_HTTP_HEAD || status == NGX_HTTP_NO_CONTENT
              || status == NGX_HTTP_NOT_MODIFIED || ctx->length == 0;

    if (!no_body) {
        return ngx_http_next_header_filter(r);
    }

    /* The head is all that the client waits for. */

#if (NGX_THREADS)

    if (ctx->tmcf->pooled && !r->header_only) {
        ctx->header_held = 1;
        return NGX_OK; /* it goes out with the body's end, once that is settled */
    }

#endif

    ngx_http_tollgate_end(r, ctx, 1);
    ngx_http_tollgate_settle_apart(ctx->ticket);

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_tollgate_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_uint_t                last;
    ngx_chain_t              *cl;
    ngx_http_tollgate_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_next_body_filter(r, in);
    }

    ctx = ngx_http_tollgate_get_ctx(r);

    if (ctx == NULL || ctx->ticket == NULL || !ctx->head_seen) {
        return ngx_http_next_body_filter(r, in);
    }

    if (ctx->settling || ctx->held) {
        return ngx_http_tollgate_hold(r, ctx, in);
    }

    if (ctx->ended) {
        return ngx_http_tollgate_pass(r, ctx, in);
    }

    last = 0;

    for (cl = in; cl; cl = cl->next) {

        last |= cl->buf->last_buf;

        if (ngx_buf_special(cl->buf)) {
            continue;
        }

        ctx->passed += ngx_buf_size(cl->buf);

        if (ctx->ticket->holds_key && !ctx->no_response) {
            ngx_http_tollgate_keep_body(ctx->ticket, cl->buf);
        }
    }

    /* Who has as many bytes as the head announced has all of it. */

    last |= ctx->length > 0 && ctx->passed >= ctx->length;

    if (!last) {

        if (ctx->header_held) {
            return ngx_http_tollgate_hold(r, ctx, in);
        }

        return ngx_http_tollgate_pass(r, ctx, in);
    }

    ngx_http_tollgate_end(r, ctx, 1);

    if (ngx_http_tollgate_settle(r, ctx) == NGX_AGAIN) {
        return ngx_http_tollgate_hold(r, ctx, in);
    }

    return ngx_http_tollgate_pass(r, ctx, in);
}


/* Puts aside what may go out only after the settlement. */

static ngx_int_t
ngx_http_tollgate_hold(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx, ngx_chain_t *in)
{
    if (ctx->held == NULL) {
        ctx->last_held = &ctx->held;
    }

    if (in && ngx_chain_add_copy(r->pool, ctx->last_held, in) != NGX_OK) {
        return NGX_ERROR;
    }

    while (*ctx->last_held) {
        ctx->last_held = &(*ctx->last_held)->next;
    }

    if (ctx->settling) {
        r->buffered |= NGX_HTTP_TOLLGATE_BUFFERED;
        return NGX_AGAIN;
    }

    /* A held head whose body's end is still to come. */

    ngx_http_tollgate_swallow(in);
    ctx->held = NULL;

    return NGX_OK;
}


/* The settlement is done. */

void
ngx_http_tollgate_release(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx)
{
    ngx_chain_t  *in;

    in = ctx->held;
    ctx->held = NULL;
    r->buffered &= ~NGX_HTTP_TOLLGATE_BUFFERED;

    if (ngx_http_tollgate_pass(r, ctx, in) == NGX_ERROR) {
        r->connection->error = 1;
    }
}


/*
 * On to the client; where that fails, the rest of the response is still read for the client's next
 * try, if nginx is told to carry on without clients.
 */

static ngx_int_t
ngx_http_tollgate_pass(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx, ngx_chain_t *in)
{
    ngx_int_t  rc;

    if (ctx->header_held) {

        ctx->header_held = 0;
        rc = ngx_http_next_header_filter(r);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            ngx_http_tollgate_swallow(in);
            return rc;
        }
    }

    if (!ctx->client_gone) {

        rc = ngx_http_next_body_filter(r, in);

        if (rc != NGX_ERROR || ctx->ended || !ctx->ticket->holds_key || ctx->no_response
            || ctx->ticket->too_long || r->upstream == NULL
            || !r->upstream->conf->ignore_client_abort)
        {
            return rc;
        }

        ctx->client_gone = 1;
    }

    ngx_http_tollgate_swallow(in);

    return ctx->ended ? NGX_ERROR : NGX_OK;
}


static void
ngx_http_tollgate_swallow(ngx_chain_t *in)
{
    ngx_chain_t  *cl;

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }
}

/* Denials and replays: the library's status, headers and body. */

#include "ngx_http_tollgate.h"

typedef struct {
    tollgate_header_t  *elts;
    size_t              nelts;
} ngx_http_tollgate_headers_t;

static ngx_int_t ngx_http_tollgate_get_headers(ngx_http_request_t *r,
    tollgate_decision_t *decision, ngx_http_tollgate_headers_t *headers);
static ngx_int_t ngx_http_tollgate_push_header(ngx_http_request_t *r, tollgate_header_t *header);
static ngx_int_t ngx_http_tollgate_send(ngx_http_request_t *r, ngx_str_t *body);


ngx_int_t
ngx_http_tollgate_answer(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx)
{
    size_t                        i;
    ngx_int_t                     rc;
    ngx_str_t                     body;
    tollgate_result_t             result;
    ngx_http_tollgate_headers_t   headers;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    /* Nothing that another module of this phase has prepared belongs to this answer. */

    ngx_http_clear_content_length(r);
    r->headers_out.status = tollgate_decision_http_status(ctx->decision);

    if (ngx_http_tollgate_get_headers(r, ctx->decision, &headers) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < headers.nelts; i++) {
        if (ngx_http_tollgate_push_header(r, &headers.elts[i]) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    body.len = 1024;

    for ( ;; ) {

        body.data = ngx_pnalloc(r->pool, body.len + 1);
        if (body.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        result = tollgate_decision_body(ctx->decision, (char *) body.data, body.len, &body.len);

        if (result == TOLLGATE_OK) {
            return ngx_http_tollgate_send(r, &body);
        }

        if (result != TOLLGATE_BUFFER_TOO_SMALL) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "tollgate answer: %s",
                          tollgate_last_error());
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
}


/* Where not even the library could say so. */

ngx_int_t
ngx_http_tollgate_unavailable(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    static ngx_str_t  body = ngx_string(
        "{\"message\":\"The service cannot check this request at the moment. Try again later.\","
        "\"code\":\"store_unavailable\"}");

    rc = ngx_http_discard_request_body(r);

    if (rc == NGX_OK) {
        r->headers_out.status = NGX_HTTP_SERVICE_UNAVAILABLE;
        ngx_str_set(&r->headers_out.content_type, "application/json");
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        rc = ngx_http_tollgate_send(r, &body);
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_tollgate_send(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *buf;
    ngx_chain_t   out;

    /* The answer to HEAD tells the length of what GET would get, which a replay knows by itself. */

    if (r->headers_out.content_length_n == -1
        && r->headers_out.status != NGX_HTTP_NOT_MODIFIED)
    {
        r->headers_out.content_length_n = (off_t) body->len;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    buf = ngx_calloc_buf(r->pool);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    if (body->len) {
        buf->pos = body->data;
        buf->last = body->data + body->len;
        buf->memory = 1;
    }

    buf->last_buf = 1;
    buf->last_in_chain = 1;

    out.buf = buf;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* The policy's headers, in place of those of the same name. */

ngx_int_t
ngx_http_tollgate_add_headers(ngx_http_request_t *r, tollgate_decision_t *decision)
{
    size_t                        i, j;
    ngx_table_elt_t              *own;
    tollgate_header_t            *header;
    ngx_http_tollgate_headers_t   headers;

    if (ngx_http_tollgate_get_headers(r, decision, &headers) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < headers.nelts; i++) {

        header = &headers.elts[i];

        /* One that the policy gives twice is there twice. */

        for (j = 0; j < i; j++) {
            if (headers.elts[j].name_len == header->name_len
                && ngx_strncasecmp((u_char *) headers.elts[j].name, (u_char *) header->name,
                                   header->name_len) == 0)
            {
                break;
            }
        }

        if (j == i) {
            while ((own = ngx_http_tollgate_find_header(&r->headers_out.headers, header->name,
                                                        header->name_len)) != NULL)
            {
                own->hash = 0;
            }
        }

        if (header->name_len == 12
            && ngx_strncasecmp((u_char *) header->name, (u_char *) "content-type", 12) == 0)
        {
            continue; /* nginx writes the body of an answer that is left to it */
        }

        if (ngx_http_tollgate_push_header(r, header) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tollgate_get_headers(ngx_http_request_t *r, tollgate_decision_t *decision,
    ngx_http_tollgate_headers_t *headers)
{
    char               *text;
    size_t              max, size, used;
    tollgate_result_t   result;

    max = 8;
    size = 256;

    for ( ;; ) {

        headers->elts = ngx_palloc(r->pool, max * sizeof(tollgate_header_t));
        text = ngx_pnalloc(r->pool, size);

        if (headers->elts == NULL || text == NULL) {
            return NGX_ERROR;
        }

        result = tollgate_decision_headers(decision, headers->elts, max, &headers->nelts, text,
                                           size, &used);

        if (result == TOLLGATE_OK) {
            return NGX_OK;
        }

        if (result != TOLLGATE_BUFFER_TOO_SMALL) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "tollgate headers: %s",
                          tollgate_last_error());
            return NGX_ERROR;
        }

        max = ngx_max(headers->nelts, max);
        size = ngx_max(used, size);
    }
}


/* Some headers are nginx's own: it, and its filters, look for them in places of their own. */

static ngx_int_t
ngx_http_tollgate_push_header(ngx_http_request_t *r, tollgate_header_t *header)
{
    ngx_str_t         name, value;
    ngx_table_elt_t  *h;

    name.len = header->name_len;
    name.data = (u_char *) header->name;
    value.len = header->value_len;
    value.data = (u_char *) header->value;

#define ngx_http_tollgate_is(text)                                                            \
    (name.len == sizeof(text) - 1                                                             \
     && ngx_strncasecmp(name.data, (u_char *) text, sizeof(text) - 1) == 0)

    if (ngx_http_tollgate_is("content-type")) {
        r->headers_out.content_type = value;
        r->headers_out.content_type_len = value.len;
        r->headers_out.content_type_lowcase = NULL;
        return NGX_OK;
    }

    if (ngx_http_tollgate_is("content-length")) {
        r->headers_out.content_length_n = ngx_atoof(value.data, value.len);
        return NGX_OK;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    h->hash = 1;
    h->key = name;
    h->value = value;

    if (ngx_http_tollgate_is("content-encoding")) {
        r->headers_out.content_encoding = h;

    } else if (ngx_http_tollgate_is("www-authenticate")) {
        r->headers_out.www_authenticate = h;

    } else if (ngx_http_tollgate_is("etag")) {
        r->headers_out.etag = h;
    }

    return NGX_OK;
}

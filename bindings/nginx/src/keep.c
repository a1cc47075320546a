/* What is kept of a response for replays. */

#include "ngx_http_tollgate.h"

static ngx_uint_t ngx_http_tollgate_is_kept(ngx_array_t *names, ngx_str_t *name);


/* Of the head: status and chosen headers, as the client sees them. */

ngx_int_t
ngx_http_tollgate_keep_head(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx)
{
    u_char                      *p, length[NGX_OFF_T_LEN], time[sizeof("Mon, 28 Sep 1970 06:00:00 GMT")];
    size_t                       n, size;
    ngx_uint_t                   i;
    ngx_list_part_t             *part;
    ngx_table_elt_t             *header, extra[3];
    ngx_http_tollgate_ticket_t  *ticket;

    ticket = ctx->ticket;
    ngx_memzero(extra, sizeof(extra));

    /* What nginx keeps apart from the list. */

    ngx_str_set(&extra[0].key, "content-type");
    extra[0].value = r->headers_out.content_type;
    extra[0].hash = r->headers_out.content_type.len != 0;

    ngx_str_set(&extra[1].key, "content-length");
    if (r->method == NGX_HTTP_HEAD && r->headers_out.content_length_n >= 0) {
        extra[1].value.data = length;
        extra[1].value.len = (size_t) (ngx_sprintf(length, "%O", r->headers_out.content_length_n)
                                       - length);
        extra[1].hash = 1;
    }

    ngx_str_set(&extra[2].key, "last-modified");
    if (r->headers_out.last_modified == NULL && r->headers_out.last_modified_time != -1) {
        extra[2].value.data = time;
        extra[2].value.len = (size_t) (ngx_http_time(time, r->headers_out.last_modified_time)
                                       - time);
        extra[2].hash = 1;
    }

#define ngx_http_tollgate_each_kept(visit)                                                    \
    for (i = 0; i < 3; i++) {                                                                 \
        header = &extra[i];                                                                   \
        if (header->hash                                                                      \
            && (i == 1 || ngx_http_tollgate_is_kept(ctx->tlcf->replay_headers, &header->key)))\
        {                                                                                     \
            visit                                                                             \
        }                                                                                     \
    }                                                                                         \
    for (part = &r->headers_out.headers.part; part; part = part->next) {                      \
        for (i = 0; i < part->nelts; i++) {                                                   \
            header = (ngx_table_elt_t *) part->elts + i;                                      \
            if (header->hash                                                                  \
                && ngx_http_tollgate_is_kept(ctx->tlcf->replay_headers, &header->key))        \
            {                                                                                 \
                visit                                                                         \
            }                                                                                 \
        }                                                                                     \
    }

    n = 0;
    size = 0;

    ngx_http_tollgate_each_kept(
        n++;
        size += header->key.len + header->value.len;
    )

    ticket->headers = ngx_alloc(n * sizeof(tollgate_header_t) + size + 1, r->connection->log);
    if (ticket->headers == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) (ticket->headers + n);
    n = 0;

    ngx_http_tollgate_each_kept(
        ticket->headers[n].name = (char *) p;
        ticket->headers[n].name_len = header->key.len;
        p = ngx_cpymem(p, header->key.data, header->key.len);
        ticket->headers[n].value = (char *) p;
        ticket->headers[n].value_len = header->value.len;
        p = ngx_cpymem(p, header->value.data, header->value.len);
        n++;
    )

    ticket->response.struct_size = sizeof(tollgate_response_t);
    ticket->response.status = (uint32_t) r->headers_out.status;
    ticket->response.headers = ticket->headers;
    ticket->response.headers_len = n;

    if (r->headers_out.content_length_n > (off_t) ticket->body_max && r->method != NGX_HTTP_HEAD) {
        ticket->too_long = 1;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_tollgate_is_kept(ngx_array_t *names, ngx_str_t *name)
{
    ngx_str_t   *kept = names->elts;
    ngx_uint_t   i;

    for (i = 0; i < names->nelts; i++) {
        if (kept[i].len == name->len
            && ngx_strncasecmp(kept[i].data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Of the body: all of it, or nothing where it is over the bound. */

void
ngx_http_tollgate_keep_body(ngx_http_tollgate_ticket_t *ticket, ngx_buf_t *buf)
{
    size_t   n, size;
    u_char  *body;

    if (ticket->too_long) {
        return;
    }

    if (!ngx_buf_in_memory(buf)) {

        /* filter_need_in_memory was set, so there are no others; half of a body is worse than none. */

        ticket->too_long = ngx_buf_size(buf) != 0;
        return;
    }

    n = (size_t) (buf->last - buf->pos);

    if (n > ticket->body_max - ticket->body_len) {
        ticket->too_long = 1;

        ngx_free(ticket->body);
        ticket->body = NULL;
        ticket->body_len = 0;
        ticket->body_size = 0;

        return;
    }

    if (n > ticket->body_size - ticket->body_len) {

        size = ngx_max(ticket->body_size * 2, ticket->body_len + n);
        size = ngx_min(ngx_max(size, 1024), ticket->body_max);

        body = ngx_alloc(size, ngx_cycle->log);
        if (body == NULL) {
            ticket->too_long = 1;
            return;
        }

        if (ticket->body_len) {
            ngx_memcpy(body, ticket->body, ticket->body_len);
        }

        ngx_free(ticket->body);
        ticket->body = body;
        ticket->body_size = size;
    }

    if (n) {
        ngx_memcpy(ticket->body + ticket->body_len, buf->pos, n);
        ticket->body_len += n;
    }
}

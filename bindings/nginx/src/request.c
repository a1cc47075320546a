/* A request as the library reads it. */

#include "ngx_http_tollgate.h"

static ngx_int_t ngx_http_tollgate_value(ngx_http_request_t *r, ngx_http_complex_value_t *value,
    ngx_str_t *text);
static ngx_int_t ngx_http_tollgate_remove_header(ngx_list_t *list, const char *name, size_t len);


uint64_t
ngx_http_tollgate_now_ms(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}


/* A whole number of 64 bits, in digits only. */

ngx_int_t
ngx_http_tollgate_parse_amount(ngx_str_t *text, uint64_t *amount)
{
    size_t    i;
    uint64_t  sum;

    for (sum = 0, i = 0; i < text->len; i++) {

        if (text->data[i] < '0' || text->data[i] > '9'
            || sum > (UINT64_MAX - (text->data[i] - '0')) / 10)
        {
            return NGX_ERROR;
        }

        sum = sum * 10 + (text->data[i] - '0');
    }

    *amount = sum;

    return NGX_OK;
}


/* Everything but the body. NGX_ERROR: it cannot be asked about, and an error is in the log. */

ngx_int_t
ngx_http_tollgate_ask_about(ngx_http_request_t *r, ngx_http_tollgate_loc_conf_t *tlcf,
    ngx_http_tollgate_asked_t *asked)
{
    size_t                i;
    ngx_str_t             text;
    ngx_uint_t            n;
    ngx_list_part_t      *part;
    ngx_table_elt_t      *header;
    struct sockaddr_in   *sin;
    tollgate_request_t   *request;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    ngx_memzero(asked, sizeof(ngx_http_tollgate_asked_t));

    request = &asked->request;
    request->struct_size = sizeof(tollgate_request_t);
    request->now_ms = ngx_http_tollgate_now_ms();
    request->method = (char *) r->method_name.data;
    request->method_len = r->method_name.len;
    request->target = (char *) r->unparsed_uri.data;
    request->target_len = r->unparsed_uri.len;

    n = 0;
    for (part = &r->headers_in.headers.part; part; part = part->next) {
        n += part->nelts;
    }

    asked->headers = ngx_palloc(r->pool, (n + 1) * sizeof(tollgate_header_t));
    if (asked->headers == NULL) {
        return NGX_ERROR;
    }

    n = 0;
    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            asked->headers[n].name = (char *) header[i].lowcase_key;
            asked->headers[n].name_len = header[i].key.len;
            asked->headers[n].value = (char *) header[i].value.data;
            asked->headers[n].value_len = header[i].value.len;
            n++;
        }
    }

    request->headers = asked->headers;
    request->headers_len = n;

    switch (r->connection->sockaddr->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) r->connection->sockaddr;
        request->peer = (uint8_t *) &sin->sin_addr;
        request->peer_len = 4;
        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) r->connection->sockaddr;
        request->peer = (uint8_t *) &sin6->sin6_addr;
        request->peer_len = 16;
        break;
#endif

    default: /* a Unix socket's peer has no address */
        break;
    }

    if (ngx_http_tollgate_value(r, tlcf->cost, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text.len) {

        if (ngx_http_tollgate_parse_amount(&text, &request->cost) != NGX_OK) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "\"tollgate_cost\" gave \"%V\", which is no amount", &text);
            return NGX_ERROR;
        }

        request->has_cost = true;
    }

    if (ngx_http_tollgate_value(r, tlcf->sender, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text.len) {
        request->sender = (char *) text.data;
        request->sender_len = text.len;
    }

    if (ngx_http_tollgate_value(r, tlcf->invalid, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text.len) {
        request->invalid = (char *) text.data;
        request->invalid_len = text.len;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tollgate_value(ngx_http_request_t *r, ngx_http_complex_value_t *value, ngx_str_t *text)
{
    if (value == NULL) {
        ngx_str_null(text);
        return NGX_OK;
    }

    return ngx_http_complex_value(r, value, text);
}


/* ---- headers --------------------------------------------------------------------------------- */

ngx_table_elt_t *
ngx_http_tollgate_find_header(ngx_list_t *list, const char *name, size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    for (part = &list->part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (header[i].hash && header[i].key.len == len
                && ngx_strncasecmp(header[i].key.data, (u_char *) name, len) == 0)
            {
                return &header[i];
            }
        }
    }

    return NULL;
}


/* What is kept for replays is the whole answer, so a request that holds a key asks for no part. */

ngx_int_t
ngx_http_tollgate_remove_range(ngx_http_request_t *r)
{
    if (r->headers_in.range == NULL && r->headers_in.if_range == NULL) {
        return NGX_OK;
    }

    r->headers_in.range = NULL;
    r->headers_in.if_range = NULL;

    if (ngx_http_tollgate_remove_header(&r->headers_in.headers, "range", 5) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_tollgate_remove_header(&r->headers_in.headers, "if-range", 8);
}


/*
 * nginx knows no way to take a header out, and its proxy modules do not look at `hash`. Others hold
 * pointers to elements, so none is moved: the part is cut around the one that goes. No part but the
 * first may be left empty (who walks a list looks at the first element of each), and nothing may be
 * added behind a part that begins amid its memory: as large as it is, it counts as full.
 */

static ngx_int_t
ngx_http_tollgate_remove_header(ngx_list_t *list, const char *name, size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part, *prev, *rest;
    ngx_table_elt_t  *header;

    prev = NULL;
    part = &list->part;

    while (part) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (header[i].key.len == len
                && ngx_strncasecmp(header[i].key.data, (u_char *) name, len) == 0)
            {
                break;
            }
        }

        if (i == part->nelts) {
            prev = part;
            part = part->next;
            continue;
        }

        if (i == part->nelts - 1) {
            part->nelts--;

            if (part->nelts || prev == NULL) {
                continue;
            }

            prev->next = part->next;

            if (list->last == part) {
                list->last = prev;
                list->nalloc = prev->nelts ? prev->nelts : list->nalloc;
            }

            part = part->next;
            continue;
        }

        if (i == 0) {
            part->elts = &header[1];
            part->nelts--;

            if (list->last == part) {
                list->nalloc = part->nelts;
            }

            continue;
        }

        rest = ngx_palloc(list->pool, sizeof(ngx_list_part_t));
        if (rest == NULL) {
            return NGX_ERROR;
        }

        rest->elts = &header[i + 1];
        rest->nelts = part->nelts - i - 1;
        rest->next = part->next;

        part->nelts = i;
        part->next = rest;

        if (list->last == part) {
            list->last = rest;
            list->nalloc = rest->nelts;
        }

        prev = part;
        part = rest;
    }

    return NGX_OK;
}

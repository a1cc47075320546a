/* Bodies of requests that hold a key: what the key stands for. */

#include "ngx_http_tollgate.h"

#if (NGX_SSL || NGX_OPENSSL)
#include <openssl/evp.h>
#define NGX_HTTP_TOLLGATE_EVP  1
#endif


ngx_uint_t
ngx_http_tollgate_has_body(ngx_http_request_t *r)
{
    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
        return 1;
    }

#if (NGX_HTTP_V2)
    if (r->stream && r->headers_in.content_length_n < 0 && !r->stream->in_closed) {
        return 1;
    }
#endif

    return 0;
}


/* One piece of memory is given as it is, so that nothing is copied. */

static ngx_int_t
ngx_http_tollgate_single_buf(ngx_chain_t *in, ngx_http_tollgate_asked_t *asked)
{
    ngx_buf_t    *buf;
    ngx_chain_t  *cl;

    buf = NULL;

    for (cl = in; cl; cl = cl->next) {

        if (ngx_buf_size(cl->buf) == 0) {
            continue;
        }

        if (buf || !ngx_buf_in_memory(cl->buf)) {
            return NGX_DECLINED;
        }

        buf = cl->buf;
    }

    if (buf) {
        asked->request.body = buf->pos;
        asked->request.body_len = (size_t) (buf->last - buf->pos);
    }

    return NGX_OK;
}


#if (NGX_HTTP_TOLLGATE_EVP)

static ngx_int_t
ngx_http_tollgate_hash_file(EVP_MD_CTX *md, ngx_buf_t *buf)
{
    u_char    piece[16384];
    off_t     offset;
    size_t    size;
    ssize_t   n;

    for (offset = buf->file_pos; offset < buf->file_last; offset += n) {

        size = (size_t) ngx_min(buf->file_last - offset, (off_t) sizeof(piece));

        n = ngx_read_file(buf->file, piece, size, offset);

        if (n <= 0 || EVP_DigestUpdate(md, piece, (size_t) n) != 1) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tollgate_hash(ngx_chain_t *in, u_char *digest)
{
    ngx_int_t    rc;
    ngx_buf_t   *buf;
    EVP_MD_CTX  *md;

    md = EVP_MD_CTX_new();
    if (md == NULL) {
        return NGX_ERROR;
    }

    rc = EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 ? NGX_OK : NGX_ERROR;

    for ( /* void */ ; rc == NGX_OK && in; in = in->next) {

        buf = in->buf;

        if (ngx_buf_in_memory(buf)) {
            if (EVP_DigestUpdate(md, buf->pos, (size_t) (buf->last - buf->pos)) != 1) {
                rc = NGX_ERROR;
            }

        } else if (buf->in_file) {
            rc = ngx_http_tollgate_hash_file(md, buf);
        }
    }

    if (rc == NGX_OK && EVP_DigestFinal_ex(md, digest, NULL) != 1) {
        rc = NGX_ERROR;
    }

    EVP_MD_CTX_free(md);

    return rc;
}

#else

static ngx_int_t
ngx_http_tollgate_join(ngx_http_request_t *r, ngx_chain_t *in, tollgate_request_t *request)
{
    u_char       *p;
    off_t         size;
    ssize_t       n;
    ngx_chain_t  *cl;

    for (size = 0, cl = in; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    p = ngx_pnalloc(r->pool, (size_t) size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    request->body = p;
    request->body_len = (size_t) size;

    for (cl = in; cl; cl = cl->next) {

        if (ngx_buf_in_memory(cl->buf)) {
            p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
            continue;
        }

        if (cl->buf->in_file) {
            n = ngx_read_file(cl->buf->file, p, (size_t) ngx_buf_size(cl->buf),
                              cl->buf->file_pos);

            if (n != (ssize_t) ngx_buf_size(cl->buf)) {
                return NGX_ERROR;
            }

            p += n;
        }
    }

    return NGX_OK;
}

#endif


/* The body that was read, or its SHA-256 where it is in pieces or in a file. */

ngx_int_t
ngx_http_tollgate_add_body(ngx_http_request_t *r, ngx_http_tollgate_asked_t *asked)
{
    if (r->request_body == NULL
        || ngx_http_tollgate_single_buf(r->request_body->bufs, asked) == NGX_OK)
    {
        return NGX_OK;
    }

#if (NGX_HTTP_TOLLGATE_EVP)

    if (ngx_http_tollgate_hash(r->request_body->bufs, asked->digest) == NGX_OK) {
        asked->request.body_sha256 = asked->digest;
        return NGX_OK;
    }

#else

    if (ngx_http_tollgate_join(r, r->request_body->bufs, &asked->request) == NGX_OK) {
        return NGX_OK;
    }

#endif

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "tollgate could not read the request's body");

    return NGX_ERROR;
}

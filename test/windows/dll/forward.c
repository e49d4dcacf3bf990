#include "forward.h"

#include <stdlib.h>
#include <string.h>

#define UNAVAILABLE HRESULT_FROM_WIN32(RPC_S_SERVER_UNAVAILABLE)
#define MOST (256u << 20) /* bytes of an answer */

/* message is a buffer that grows. */
struct message {
	char *bytes;
	size_t size, capacity;
	BOOL failed; /* out of memory */
};

static void append(struct message *m, const void *bytes, size_t size) {
	if (m->failed)
		return;
	if (m->size + size > m->capacity) {
		size_t capacity = (m->size + size) * 2 + 256;
		char *grown = realloc(m->bytes, capacity);
		if (!grown) {
			m->failed = TRUE;
			return;
		}
		m->bytes = grown;
		m->capacity = capacity;
	}
	memcpy(m->bytes + m->size, bytes, size);
	m->size += size;
}

/* append_field adds a length and as many bytes. */
static void append_field(struct message *m, const char *bytes, size_t size) {
	DWORD length = (DWORD)size;
	append(m, &length, sizeof length);
	append(m, bytes, size);
}

static void append_wide(struct message *m, const WCHAR *text) {
	int size = text ? WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL) : 0;
	char *utf8 = malloc(size > 0 ? size : 1);
	if (!utf8) {
		m->failed = TRUE;
		return;
	}
	if (size > 0)
		WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8, size, NULL, NULL);
	append_field(m, utf8, size > 0 ? (size_t)size - 1 : 0); /* without the end's zero */
	free(utf8);
}

/* wide is UTF-8 as the caller's own UTF-16. */
static WCHAR *wide(const char *utf8, DWORD size) {
	int count = size ? MultiByteToWideChar(CP_UTF8, 0, utf8, (int)size, NULL, 0) : 0;
	WCHAR *text = CoTaskMemAlloc((count + 1) * sizeof(WCHAR));
	if (!text)
		return NULL;
	if (count)
		MultiByteToWideChar(CP_UTF8, 0, utf8, (int)size, text, count);
	text[count] = 0;
	return text;
}

static BOOL send_all(SOCKET s, const char *bytes, size_t size) {
	while (size > 0) {
		int sent = send(s, bytes, size > 1 << 20 ? 1 << 20 : (int)size, 0);
		if (sent <= 0)
			return FALSE;
		bytes += sent;
		size -= sent;
	}
	return TRUE;
}

static BOOL receive_all(SOCKET s, char *bytes, size_t size) {
	while (size > 0) {
		int got = recv(s, bytes, size > 1 << 20 ? 1 << 20 : (int)size, 0);
		if (got <= 0)
			return FALSE;
		bytes += got;
		size -= got;
	}
	return TRUE;
}

static INIT_ONCE started = INIT_ONCE_STATIC_INIT;

static BOOL CALLBACK start_sockets(PINIT_ONCE once, PVOID parameter, PVOID *context) {
	WSADATA data;
	return WSAStartup(MAKEWORD(2, 2), &data) == 0;
}

/* dial connects to the emulator, or gives INVALID_SOCKET. */
static SOCKET dial(void) {
	char host[128], *colon;
	struct sockaddr_in to = {.sin_family = AF_INET};
	DWORD size = GetEnvironmentVariableA("HNSEMU_ADDR", host, sizeof host);
	SOCKET s;

	if (size == 0 || size >= sizeof host || !(colon = strrchr(host, ':')))
		return INVALID_SOCKET;
	*colon = 0;
	to.sin_port = htons((u_short)atoi(colon + 1));
	to.sin_addr.s_addr = inet_addr(host);
	if (!InitOnceExecuteOnce(&started, start_sockets, NULL, NULL))
		return INVALID_SOCKET;
	s = socket(AF_INET, SOCK_STREAM, 0);
	if (s != INVALID_SOCKET && connect(s, (struct sockaddr *)&to, sizeof to)) {
		closesocket(s);
		return INVALID_SOCKET;
	}
	return s;
}

/* exchange sends a message and gives the answer behind its length, to be freed; NULL where there is none. */
static char *exchange(const struct message *m, DWORD *size) {
	char *answer = NULL;
	SOCKET s = dial();
	if (s == INVALID_SOCKET)
		return NULL;
	if (send_all(s, m->bytes, m->size) && receive_all(s, (char *)size, sizeof *size) && *size >= sizeof(HRESULT) && *size <= MOST &&
		(answer = malloc(*size)) && !receive_all(s, answer, *size)) {
		free(answer);
		answer = NULL;
	}
	closesocket(s);
	return answer;
}

/* next_field takes a field from the bytes between *at and end. */
static BOOL next_field(const char **at, const char *end, const char **field, DWORD *size) {
	if (end - *at < (ptrdiff_t)sizeof *size)
		return FALSE;
	memcpy(size, *at, sizeof *size);
	*at += sizeof *size;
	if ((size_t)(end - *at) < *size)
		return FALSE;
	*field = *at;
	*at += *size;
	return TRUE;
}

static HRESULT unpack(const char *answer, DWORD size, char *answered_id, WCHAR **output, WCHAR **record) {
	const char *at = answer + sizeof(HRESULT), *end = answer + size, *field[3];
	DWORD length[3];
	HRESULT result;
	memcpy(&result, answer, sizeof result);
	for (int i = 0; i < 3; i++)
		if (!next_field(&at, end, &field[i], &length[i]))
			return UNAVAILABLE;
	if (answered_id) {
		DWORD n = length[0] < GUID_TEXT ? length[0] : GUID_TEXT - 1;
		memcpy(answered_id, field[0], n);
		answered_id[n] = 0;
	}
	if (output && SUCCEEDED(result))
		*output = wide(field[1], length[1]);
	if (record && length[2])
		*record = wide(field[2], length[2]);
	return result;
}

HRESULT forward(const char *operation, const char *id, const WCHAR *a, const WCHAR *b, const WCHAR *c, char *answered_id, WCHAR **output,
	WCHAR **record) {
	struct message m = {0};
	DWORD size = 0;
	HRESULT result = UNAVAILABLE;
	char *answer;

	if (output)
		*output = NULL;
	if (record)
		*record = NULL;
	append(&m, &size, sizeof size); /* its place */
	append_field(&m, operation, strlen(operation));
	append_field(&m, id, strlen(id));
	append_wide(&m, a);
	append_wide(&m, b);
	append_wide(&m, c);
	if (m.failed) {
		free(m.bytes);
		return E_OUTOFMEMORY;
	}
	size = (DWORD)(m.size - sizeof size);
	memcpy(m.bytes, &size, sizeof size);
	answer = exchange(&m, &size);
	if (answer)
		result = unpack(answer, size, answered_id, output, record);
	free(answer);
	free(m.bytes);
	return result;
}

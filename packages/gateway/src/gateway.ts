export interface Upstream {
  /** e.g. https://api.anthropic.com */
  baseUrl: string
  /** Sent as `x-api-key` in place of what the sandbox sends. */
  apiKey: string
}

export interface ModelTraffic {
  /** A model request has arrived whole head; `timeMs` since 1970 with fractions. Called before it is forwarded. */
  onRequest(request: { method: string; path: string; timeMs: number }): void
  /**
   * The request's body is complete (bodies of more than 16 MiB aren't told). What it returns is waited for before the
   * answer's first byte goes into the sandbox; the request itself goes on meanwhile.
   */
  onBody?(request: { path: string; body: string }): Promise<void> | undefined
  /** First byte of the answer's body. */
  onFirstByte(response: { path: string; status: number; timeMs: number }): void
  /** Each piece of an answer whose status is 2xx. */
  onProgress(): void
  /** The answer is over. `failure` says what kept it from the sandbox whole; the status is then the one the sandbox got. */
  onEnd(response: { path: string; status: number; timeMs: number; durationMs: number; failure?: string }): void
}

/** A sandbox that no session has yet: its requests are answered here and go nowhere. */
export interface LocalAnswers {
  answer(request: { method: string; path: string; body: string }): { status: number; contentType: string; body: string }
}

export interface Gateway {
  readonly address: string
  readonly port: number
  /** Requests from `sourceAddress` belong to this sandbox from now on; others get 403. Returns the way to end it. */
  register(sourceAddress: string, traffic: ModelTraffic | LocalAnswers): () => void
  /** An agent is about to make a request: a connection to the model endpoint is opened where none is free. */
  expectRequest(): void
  close(): Promise<void>
}

/** One request to the model endpoint, when it is over: bodies alone, in bytes. */
export interface Exchange {
  /** Host name of the endpoint. */
  destination: string
  sentBytes: number
  receivedBytes: number
}

export interface GatewayOptions {
  host: string
  port: number
  upstream: Upstream
  /** Is told of each request that left, whatever came of it. */
  onExchange?(exchange: Exchange): void
  maxRequestBytes?: number
  /** How long the model endpoint may take to begin its answer: a long one that isn't streamed begins when it is complete. */
  headersTimeoutMs?: number
  /** How long a streamed answer may pause. */
  pauseTimeoutMs?: number
  /** Requests of one sandbox that are open at a time; more get 429. */
  maxOpenRequests?: number
  /** How long a connection that was opened ahead waits for its request. */
  aheadMs?: number
}

import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * Where the server is and how to ask it.
 *
 * @example
 * const client = createClient({ url: 'http://127.0.0.1:7300', apiKey: 'vm0_…', timeoutMs: 10_000 })
 */
export interface ClientOptions {
  /** Default: VM0_API_URL, else what `vm0 up` wrote for this user, else http://127.0.0.1:7300. */
  url?: string
  /** Default: VM0_API_KEY, else what `vm0 up` wrote for this user. */
  apiKey?: string
  /** Used instead of the global one: for a proxy, say. */
  fetch?: typeof fetch
  /** How often a request is tried again after a failure that may pass. Default 4. */
  retries?: number
  /** How long a request may take to be answered, in milliseconds; uploads and commands take as long as they take. Default 60000. */
  timeoutMs?: number
}

export function configPath(env: Record<string, string | undefined> = process.env): string {
  return env.VM0_CONFIG || join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'vm0', 'config.json')
}

/** Read at the first request, so that a program may be loaded before `vm0 up` runs. */
export function resolveEndpoint(options: ClientOptions): { url: string; apiKey: string | undefined } {
  const { VM0_API_URL, VM0_API_KEY } = process.env
  let local: { url?: string; apiKey?: string } = {}
  if (!options.url && !VM0_API_URL) {
    try {
      local = JSON.parse(readFileSync(configPath(), 'utf8')) as typeof local
    } catch {
      /* no `vm0 up` of this user */
    }
  }
  return {
    url: (options.url ?? (VM0_API_URL || local.url) ?? 'http://127.0.0.1:7300').replace(/\/+$/, ''),
    apiKey: options.apiKey ?? (VM0_API_KEY || local.apiKey),
  }
}

import { setTimeout as wait } from 'node:timers/promises'

/** Classes and codes of PostgreSQL, and of the socket, that speak of the connection and not of the statement. */
const sqlStates = /^(08...|57P0[123]|53300)$/
const socketCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
])
const words =
  /^(Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|Client was closed)/

/** The connection to the database was lost or could not be made. A statement under way may or may not have been carried out. */
export function isConnectionLost(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as NodeJS.ErrnoException
  if (code && (sqlStates.test(code) || socketCodes.has(code))) return true
  return words.test(error.message)
}

/**
 * Does the work again, with growing pauses, while the connection to the database is lost; other failures and the end of the
 * patience are thrown. What the work writes must be right when it is done twice.
 */
export async function overLostConnections<T>(work: (attempt: number) => Promise<T>, patience: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt)
    } catch (error) {
      if (!isConnectionLost(error) || patience.aborted) throw error
      await wait(Math.min(2_000, 25 * 2 ** attempt), undefined, { signal: patience }).catch(() => undefined)
      if (patience.aborted) throw error
    }
  }
}

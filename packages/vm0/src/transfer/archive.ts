import { Vm0Error, webStreamOf, type ImportOutput } from '@vm0/contract/client'
import { bytesOf, lineError, linesOf, type Http, type RequestBody } from '../http.js'

/** A session's file, as it comes. */
export async function exportSession(
  http: Http,
  id: string,
  withTemplate: boolean,
  signal?: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  return bytesOf(
    await http.request(`/sessions/${id}/export${withTemplate ? '' : '?template=omit'}`, { signal, patient: true }),
    signal,
  )
}

/** Sends a session's file; gives the id of the session that it became. */
export async function importSession(
  http: Http,
  content: AsyncIterable<Uint8Array> | Uint8Array,
  template?: string,
  signal?: AbortSignal,
): Promise<string> {
  const body = (): RequestBody => (content instanceof Uint8Array ? content : webStreamOf(content)) as RequestBody
  const response = await http.request(
    `/sessions/import${template === undefined ? '' : `?template=${encodeURIComponent(template)}`}`,
    {
      method: 'POST',
      headers: { 'content-type': 'application/x-tar' },
      body,
      signal,
      // A stream can be read once, and twice would be two sessions.
      retry: false,
      patient: true,
    },
  )
  for await (const line of linesOf<ImportOutput>(response, signal)) {
    if (line.type === 'imported') return line.sessionId
    throw lineError(line)
  }
  throw new Vm0Error('SERVER_UNREACHABLE', 'the answer ended before the session was imported')
}

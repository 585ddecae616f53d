import type { Http } from '../http.js'

/** Sends a workspace where there is one. What packs it is loaded then: most programs that call VM0 send none. */
export async function sendWorkspace(http: Http, folder?: string, signal?: AbortSignal): Promise<string | undefined> {
  if (folder === undefined) return undefined
  const { uploadWorkspace } = await import('./workspace.js')
  return uploadWorkspace(http, folder, signal)
}

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Http } from '../http.js'
import { uploadWorkspace } from './workspace.js'

/** Sends the folder that a Dockerfile copies from, without what its .dockerignore leaves out; gives the digest. */
export async function sendContext(http: Http, folder: string, signal?: AbortSignal): Promise<string> {
  const text = await readFile(join(folder, '.dockerignore'), 'utf8').catch(() => '')
  return uploadWorkspace(http, folder, signal, { gitignore: false, rules: [{ folder: '', text: asGitignore(text) }] })
}

/** The same patterns as lines of a .gitignore, which are found at any depth where they have no slash. */
export function asGitignore(text: string): string {
  const lines = text.split(/\r?\n/).map((line) => line.trim())
  return lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const isException = line.startsWith('!')
      const pattern = (isException ? line.slice(1) : line).replace(/^(?:\.?\/)+/, '')
      return `${isException ? '!' : ''}/${pattern}`
    })
    .join('\n')
}

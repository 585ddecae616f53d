import { createReadStream } from 'node:fs'
import type { BlobPort } from '@vm0/backends'
import { Vm0Error } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { readAll } from './exec-output.js'

export interface Upload {
  projectId: string
  digest: string
}

/** Unpacks a tar that was uploaded before into /workspace, inside the sandbox: its names are not to be trusted. */
export async function unpackUpload(
  sandbox: Sandbox,
  blobs: BlobPort,
  { projectId, digest }: Upload,
  signal?: AbortSignal,
): Promise<void> {
  const path = await blobs.localPath(`uploads/${projectId}/${digest.replace(':', '-')}`)
  if (!path)
    throw new Vm0Error(
      'WORKSPACE_INVALID',
      `the workspace upload ${digest} does not exist; expected it to be sent by PUT /v1/uploads/${digest} before`,
    )
  const result = await readAll(
    sandbox.exec({
      args: ['tar', '-x', '--no-same-owner', '-C', '/workspace', '-f', '-'],
      stdin: createReadStream(path),
      ...(signal ? { signal } : {}),
    }),
    65_536,
  )
  const said = result.stderr.trim()
  if (/No space left/.test(said))
    throw new Vm0Error('SANDBOX_DISK_FULL', "the workspace upload does not fit on the session's disk")
  if (result.exitCode !== 0)
    throw new Vm0Error(
      'WORKSPACE_INVALID',
      `the workspace upload could not be unpacked: ${said.slice(0, 1000) || `tar ended with ${result.exitCode}`}`,
    )
}

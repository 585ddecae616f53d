import { posix } from 'node:path'
import { Vm0Error, type FileEntry } from '@vm0/contract/client'
import type { Http, RequestBody } from './http.js'
import type { DownloadOptions, DownloadResult } from './transfer/receive-tree.js'
import type { CallOfFolder, FolderCallKind } from './transfer/sync/calls.js'
import type { UploadOptions, UploadResult } from './transfer/send-tree.js'

/**
 * Files in the session's sandbox, by absolute path. A session without a sandbox gets one back by itself.
 *
 * @example
 * await session.files.write('/workspace/note.txt', 'hello')
 */
export class SessionFiles {
  /** @internal */
  constructor(
    private readonly http: Http,
    private readonly sessionId: string,
    /** Settles when the session's first run has made it. */
    private readonly made: () => Promise<unknown>,
  ) {}

  /**
   * A file's bytes. Throws FILE_NOT_FOUND, or FILE_INVALID when it is no regular file.
   *
   * @example
   * const bytes = await session.files.read('/etc/hostname')
   */
  async read(path: string): Promise<Uint8Array> {
    return this.http.bytes(await this.url('files', path))
  }

  /**
   * A file's content as UTF-8 text.
   *
   * @example
   * console.log(await session.files.readText('/etc/os-release'))
   */
  async readText(path: string): Promise<string> {
    return new TextDecoder().decode(await this.read(path))
  }

  /**
   * Writes a file, with the folders that lead to it. Throws SANDBOX_DISK_FULL when there is no room.
   *
   * @example
   * await session.files.write('/workspace/data/input.csv', 'a,b\n1,2\n')
   */
  async write(path: string, content: string | Uint8Array): Promise<void> {
    await this.http.json(await this.url('files', path), {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
      body: () => content as RequestBody,
      patient: true,
    })
  }

  /**
   * What is in a folder, by name; /workspace when none is given.
   *
   * @example
   * for (const { name, sizeBytes } of await session.files.list('/workspace')) console.log(name, sizeBytes)
   */
  async list(path = '/workspace'): Promise<FileEntry[]> {
    return (await this.http.json<{ items: FileEntry[] }>(await this.url('entries', path))).items
  }

  /**
   * One entry itself: of a symbolic link the link, not what it points to. Throws FILE_NOT_FOUND.
   *
   * @example
   * const { type, mode } = await session.files.stat('/workspace')
   */
  async stat(path: string): Promise<FileEntry> {
    return this.http.json<FileEntry>(await this.url('stat', path))
  }

  /**
   * Removes a file, or a folder with all that is in it. Throws FILE_NOT_FOUND.
   *
   * @example
   * await session.files.write('/workspace/old.txt', 'x')
   * await session.files.remove('/workspace/old.txt')
   */
  async remove(path: string): Promise<void> {
    await this.http.json(await this.url('files', path), { method: 'DELETE' })
  }

  /**
   * Sends a local file to be the file `remotePath`, or a local folder's content into the folder `remotePath`: only what is
   * not there in the same form. Everything counts, also what a .gitignore names, unless `ignore` is set; symbolic links,
   * modes and times are kept, and what is there and not in the local folder stays, unless `delete` is set. Of a file of 4 MiB
   * or more only the pieces that changed go. What has arrived when a connection breaks isn't sent again. Throws
   * FILE_INVALID for sockets, pipes and devices, and for a big file that changes while it is read.
   *
   * @example
   * await session.files.upload('./fixtures', '/workspace/fixtures')
   * await session.files.upload('./README.md', '/workspace/README.md')
   *
   * @example
   * const { files, savedBytes } = await session.files.upload('.', '/workspace', { ignore: true, delete: true })
   */
  async upload(localPath: string, remotePath: string, options: UploadOptions = {}): Promise<UploadResult> {
    const { sendTree } = await import('./transfer/send-tree.js')
    return sendTree(this.http, localPath, remotePath, (kind, path) => this.url(kind, path), options)
  }

  /**
   * Fetches the file `remotePath` to be the file `localPath`, or a folder's content into the folder `localPath`: only what
   * is not here in the same form. Nothing is ever written outside `localPath`: names and links in the sandbox are not to be
   * trusted, and one that leads out makes this throw FILE_INVALID (`outsideLinks: 'skip'` leaves such links out instead).
   * What was written until then stays. Files that are there are replaced, those that the session doesn't have stay. Of a file
   * of 4 MiB or more that is here in another form only the pieces that changed come.
   *
   * @example
   * await session.files.write('/workspace/out/report.txt', 'done')
   * const { files, bytes, savedBytes } = await session.files.download('/workspace/out', './out')
   */
  async download(remotePath: string, localPath: string, options: DownloadOptions = {}): Promise<DownloadResult> {
    const { fetchTree } = await import('./transfer/fetch-tree.js')
    return fetchTree(this.http, remotePath, localPath, (kind, path) => this.url(kind, path), options)
  }

  /**
   * What moves a folder, for those who plan by themselves what is to move.
   *
   * @internal
   */
  folder(path: string): { http: Http; call: CallOfFolder } {
    return { http: this.http, call: (kind) => this.url(kind, path) }
  }

  private async url(kind: FolderCallKind | 'files', path: string): Promise<string> {
    if (!path.startsWith('/')) throw new Vm0Error('FILE_INVALID', `path ${path}: expected an absolute one`)
    await this.made()
    // A `..` that is left in an address would be resolved against the address, not against the path.
    const plain = posix.normalize(path)
    return `/sessions/${this.sessionId}/${kind}/${plain.slice(1).split('/').map(encodeURIComponent).join('/')}`
  }
}

import type { CreateProject, ProjectView, StorageView, UpdateProject } from '@vm0/contract/client'
import type { Http } from './http.js'
import { query, type Page, type PageOptions } from './page.js'

/**
 * Projects: nothing of one is visible to another.
 *
 * @example
 * const { items } = await vm0.projects.list()
 */
export class Projects {
  /** @internal */
  constructor(private readonly http: Http) {}

  /**
   * Makes a project; needs a key with the scope `installation`, as `vm0 up` gives to its user.
   *
   * @example
   * await vm0.projects.create({ id: 'team-a' })
   */
  create(project: CreateProject): Promise<ProjectView> {
    return this.http.json('/projects', { method: 'POST', json: project })
  }

  /**
   * Changes a project: its name, what its checkpoints may hold (`null`: without bound), or what of it goes out with telemetry
   * (`capture`: `none`, `metadata`, or `full`, which is prompts, commands and outputs too). Needs a key with the scope
   * `installation`.
   *
   * @example
   * await vm0.projects.create({ id: 'team-b' })
   * await vm0.projects.update('team-b', { quotaBytes: 20 * 1024 ** 3 })
   */
  update(id: string, changes: UpdateProject): Promise<ProjectView> {
    return this.http.json(`/projects/${id}`, { method: 'PATCH', json: changes })
  }

  /**
   * What the project of the key stores and may store, and its sessions that hold most. Over the quota new runs, uploads
   * and imports are refused with QUOTA_EXCEEDED; a run at work is saved in any case.
   *
   * @example
   * const { storedBytes, quotaBytes, sessions } = await vm0.projects.storage()
   */
  storage(): Promise<StorageView> {
    return this.http.json('/storage')
  }

  /**
   * Projects of the installation, the newest first.
   *
   * @example
   * const { items } = await vm0.projects.list()
   */
  list(options: Omit<PageOptions, 'sessionId'> = {}): Promise<Page<ProjectView>> {
    return this.http.json(`/projects${query(options)}`)
  }
}

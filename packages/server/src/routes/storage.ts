import { storageQuerySchema, storageSchema } from '@vm0/contract'
import type { App, Parts } from '../create-server.js'

/** What the key's project stores. */
export function storageRoutes(app: App, { storage }: Parts): void {
  app.get('/storage', { schema: { querystring: storageQuerySchema, response: { 200: storageSchema } } }, (request) =>
    storage.get(request.projectId, request.query.sessions),
  )
}

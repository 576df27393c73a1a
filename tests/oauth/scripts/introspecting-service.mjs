// A service that asks about every access token (RFC 7662): it sees revocation at once.
import { createServer } from 'node:http';
import * as oauth from 'oauth4webapi';

const [base, clientId, secret, how] = process.argv.slice(2);
const options = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(base);
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options });
const authorizationServer = await oauth.processDiscoveryResponse(issuer, discovered);
const client = { client_id: clientId };
const credentials = how === 'basic' ? oauth.ClientSecretBasic(secret) : oauth.ClientSecretPost(secret);

const server = createServer(async (request, response) => {
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  try {
    const answer = await oauth.introspectionRequest(authorizationServer, client, credentials, token, options);
    const found = await oauth.processIntrospectionResponse(authorizationServer, client, answer);
    response.writeHead(found.active ? 200 : 401).end(JSON.stringify(found));
  } catch (error) {
    response.writeHead(500).end(JSON.stringify({ error: error.cause?.[0]?.scheme ?? String(error) }));
  }
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));

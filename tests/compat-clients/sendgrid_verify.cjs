// Has SendGrid's own library verify requests: reads a JSON list of {key, signature, timestamp, body}.
const { EventWebhook } = require('@sendgrid/eventwebhook');
const verifier = new EventWebhook();
const requests = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const verify = it => verifier.verifySignature(verifier.convertPublicKeyToECDSA(it.key), it.body, it.signature, it.timestamp);
console.log(JSON.stringify(requests.map(it => [verify(it), verify({ ...it, body: it.body + ' ' })])));

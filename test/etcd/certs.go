package etcd

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certs are the files of a server, in PEM. Its certificate serves clients too, as user "root".
type Certs struct {
	CA, Cert, Key string
	OtherCA       string // which has signed nothing
	dir           string
	ca            *x509.Certificate
	caKey         crypto.Signer
}

func makeCerts(t testing.TB, dir string) *Certs {
	t.Helper()
	c := &Certs{dir: dir}
	c.CA, c.ca, c.caKey = c.authority(t, "ca")
	c.OtherCA, _, _ = c.authority(t, "other-ca")
	c.Cert, c.Key = c.Client(t, "root")
	return c
}

func (c *Certs) authority(t testing.TB, name string) (string, *x509.Certificate, crypto.Signer) {
	key := newKey(t)
	template := template(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c.write(t, name+".pem", "CERTIFICATE", der), ca, key
}

// Client makes a certificate of a user, and its key.
func (c *Certs) Client(t testing.TB, user string) (cert, key string) {
	t.Helper()
	signer := newKey(t)
	template := template(user)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	der, err := x509.CreateCertificate(rand.Reader, template, c.ca, signer.Public(), c.caKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	return c.write(t, user+".pem", "CERTIFICATE", der), c.write(t, user+"-key.pem", "PRIVATE KEY", private)
}

func newKey(t testing.TB) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func (c *Certs) write(t testing.TB, name, kind string, der []byte) string {
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *Certs) client(t testing.TB) *tls.Config {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.ca)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

"""Well-known artifacts of Maven by the names of their files, for archives that do not say which they are.

Made by hand of what Maven Central has. A name counts only with the classes that the artifact has, so that another
archive of the same name is none of it; names that several groups have are not here.
"""

from __future__ import annotations

_ROWS = (
    ("org.springframework", "org/springframework/",
     "spring-aop spring-aspects spring-beans spring-context spring-context-indexer spring-context-support spring-core "
     "spring-expression spring-instrument spring-jcl spring-jdbc spring-jms spring-messaging spring-orm spring-oxm "
     "spring-r2dbc spring-test spring-tx spring-web spring-webflux spring-webmvc spring-webmvc-portlet "
     "spring-websocket"),
    ("org.springframework.boot", "org/springframework/boot/",
     "spring-boot spring-boot-actuator spring-boot-actuator-autoconfigure spring-boot-autoconfigure spring-boot-loader "
     "spring-boot-loader-tools spring-boot-jarmode-layertools spring-boot-jarmode-tools spring-boot-devtools "
     "spring-boot-test spring-boot-cli"),
    ("org.springframework.security", "org/springframework/security/",
     "spring-security-acl spring-security-cas spring-security-config spring-security-core spring-security-crypto "
     "spring-security-ldap spring-security-messaging spring-security-oauth2-client spring-security-oauth2-core "
     "spring-security-oauth2-jose spring-security-oauth2-resource-server spring-security-web spring-security-test"),
    ("org.springframework.data", "org/springframework/data/",
     "spring-data-commons spring-data-jdbc spring-data-jpa spring-data-keyvalue spring-data-ldap spring-data-mongodb "
     "spring-data-redis spring-data-relational spring-data-rest-core spring-data-rest-webmvc"),
    ("org.springframework.cloud", "org/springframework/cloud/",
     "spring-cloud-commons spring-cloud-context spring-cloud-function-context spring-cloud-gateway-server "
     "spring-cloud-netflix-eureka-client spring-cloud-openfeign-core spring-cloud-stream"),
    ("org.springframework.kafka", "org/springframework/kafka/", "spring-kafka"),
    ("org.springframework.amqp", "org/springframework/amqp/", "spring-amqp spring-rabbit"),
    ("org.springframework.integration", "org/springframework/integration/", "spring-integration-core"),
    ("org.springframework.session", "org/springframework/session/", "spring-session-core spring-session-jdbc"),
    ("org.springframework.hateoas", "org/springframework/hateoas/", "spring-hateoas"),
    ("org.springframework.retry", "org/springframework/retry/", "spring-retry"),
    ("org.springframework.batch", "org/springframework/batch/", "spring-batch-core spring-batch-infrastructure"),
    ("org.apache.logging.log4j", "org/apache/logging/",
     "log4j-api log4j-core log4j-jcl log4j-jul log4j-layout-template-json log4j-slf4j-impl log4j-slf4j2-impl "
     "log4j-to-slf4j log4j-web log4j-iostreams log4j-taglib log4j-jpa log4j-appserver"),
    ("org.apache.logging.log4j", "org/apache/log4j/", "log4j-1.2-api"),
    ("log4j", "org/apache/log4j/", "log4j"),
    ("ch.qos.reload4j", "org/apache/log4j/", "reload4j"),
    ("ch.qos.logback", "ch/qos/logback/", "logback-access logback-classic logback-core"),
    ("org.slf4j", "org/slf4j/", "slf4j-api slf4j-ext slf4j-jdk14 slf4j-log4j12 slf4j-nop slf4j-reload4j slf4j-simple "
     "slf4j-jcl jul-to-slf4j"),
    ("org.slf4j", "org/apache/commons/logging/", "jcl-over-slf4j"),
    ("org.slf4j", "org/apache/log4j/", "log4j-over-slf4j"),
    ("commons-beanutils", "org/apache/commons/beanutils/", "commons-beanutils"),
    ("commons-chain", "org/apache/commons/chain/", "commons-chain"),
    ("commons-cli", "org/apache/commons/cli/", "commons-cli"),
    ("commons-codec", "org/apache/commons/codec/", "commons-codec"),
    ("commons-collections", "org/apache/commons/collections/", "commons-collections"),
    ("commons-configuration", "org/apache/commons/configuration/", "commons-configuration"),
    ("commons-daemon", "org/apache/commons/daemon/", "commons-daemon"),
    ("commons-dbcp", "org/apache/commons/dbcp/", "commons-dbcp"),
    ("commons-digester", "org/apache/commons/digester/", "commons-digester"),
    ("commons-fileupload", "org/apache/commons/fileupload/", "commons-fileupload"),
    ("commons-httpclient", "org/apache/commons/httpclient/", "commons-httpclient"),
    ("commons-io", "org/apache/commons/io/", "commons-io"),
    ("commons-jxpath", "org/apache/commons/jxpath/", "commons-jxpath"),
    ("commons-lang", "org/apache/commons/lang/", "commons-lang"),
    ("commons-logging", "org/apache/commons/logging/", "commons-logging"),
    ("commons-net", "org/apache/commons/net/", "commons-net"),
    ("commons-pool", "org/apache/commons/pool/", "commons-pool"),
    ("commons-validator", "org/apache/commons/validator/", "commons-validator"),
    ("org.apache.commons", "org/apache/commons/",
     "commons-collections4 commons-compress commons-configuration2 commons-crypto commons-csv commons-dbcp2 "
     "commons-email commons-exec commons-fileupload2-core commons-jexl3 commons-lang3 commons-math3 commons-pool2 "
     "commons-text commons-vfs2 commons-imaging commons-rng-simple commons-bcel commons-jcs3-core"),
    ("org.apache.bcel", "org/apache/bcel/", "bcel"),
    ("org.apache.httpcomponents", "org/apache/http/", "httpclient httpcore httpmime httpasyncclient httpcore-nio "
     "fluent-hc httpclient-cache"),
    ("org.apache.httpcomponents.client5", "org/apache/hc/client5/", "httpclient5 httpclient5-fluent"),
    ("org.apache.httpcomponents.core5", "org/apache/hc/core5/", "httpcore5 httpcore5-h2"),
    ("org.apache.tomcat", "org/apache/",
     "tomcat-annotations-api tomcat-api tomcat-catalina tomcat-coyote tomcat-dbcp tomcat-el-api tomcat-jasper "
     "tomcat-jasper-el tomcat-jdbc tomcat-jni tomcat-juli tomcat-util tomcat-util-scan tomcat-websocket "
     "tomcat-catalina-ha tomcat-tribes tomcat-ssi tomcat-storeconfig"),
    ("org.apache.tomcat", "javax/", "tomcat-servlet-api tomcat-jsp-api tomcat-websocket-api tomcat-jaspic-api"),
    ("org.apache.tomcat", "jakarta/", "tomcat-websocket-client-api"),
    ("org.apache.tomcat.embed", "org/apache/", "tomcat-embed-core tomcat-embed-el tomcat-embed-jasper "
     "tomcat-embed-websocket"),
    ("org.apache.ant", "org/apache/tools/ant/",
     "ant ant-antlr ant-apache-bcel ant-apache-bsf ant-apache-log4j ant-apache-oro ant-apache-regexp "
     "ant-apache-resolver ant-apache-xalan2 ant-commons-logging ant-commons-net ant-imageio ant-jakartamail "
     "ant-javamail ant-jdepend ant-jmf ant-jsch ant-junit ant-junit4 ant-junitlauncher ant-launcher ant-netrexx "
     "ant-swing ant-testutil ant-xz"),
    ("org.apache.ivy", "org/apache/ivy/", "ivy"),
    ("org.apache.xmlgraphics", "org/apache/", "batik-all batik-bridge batik-codec batik-css batik-dom batik-script "
     "batik-transcoder batik-util batik-xml xmlgraphics-commons"),
    ("org.apache.velocity", "org/apache/velocity/", "velocity velocity-engine-core"),
    ("org.apache.santuario", "org/apache/xml/security/", "xmlsec"),
    ("org.apache.struts", "org/apache/struts2/", "struts2-core"),
    ("org.apache.shiro", "org/apache/shiro/", "shiro-all shiro-cas shiro-core shiro-spring shiro-web"),
    ("org.apache.kafka", "org/apache/kafka/", "kafka-clients kafka-streams connect-api connect-json connect-runtime "
     "kafka-server-common kafka-raft kafka-metadata kafka-storage kafka-storage-api kafka-tools kafka-group-coordinator"
     " kafka-server"),
    ("org.apache.kafka", "kafka/", "kafka_2.11 kafka_2.12 kafka_2.13"),
    ("org.apache.zookeeper", "org/apache/zookeeper/", "zookeeper zookeeper-jute"),
    ("org.apache.lucene", "org/apache/lucene/",
     "lucene-analyzers-common lucene-analysis-common lucene-backward-codecs lucene-core lucene-facet lucene-grouping "
     "lucene-highlighter lucene-join lucene-memory lucene-misc lucene-queries lucene-queryparser lucene-sandbox "
     "lucene-spatial-extras lucene-spatial3d lucene-suggest"),
    ("org.elasticsearch", "org/elasticsearch/", "elasticsearch elasticsearch-core elasticsearch-x-content "
     "elasticsearch-geo elasticsearch-lz4 elasticsearch-secure-sm elasticsearch-cli"),
    ("org.elasticsearch.client", "org/elasticsearch/client/", "elasticsearch-rest-client "
     "elasticsearch-rest-high-level-client elasticsearch-rest-client-sniffer"),
    ("org.apache.avro", "org/apache/avro/", "avro avro-ipc avro-mapred"),
    ("org.apache.thrift", "org/apache/thrift/", "libthrift"),
    ("org.apache.poi", "org/apache/poi/", "poi poi-ooxml poi-ooxml-lite poi-scratchpad"),
    ("org.apache.pdfbox", "org/apache/", "pdfbox fontbox xmpbox"),
    ("org.apache.tika", "org/apache/tika/", "tika-core tika-parsers"),
    ("org.apache.derby", "org/apache/derby/", "derby derbyclient derbynet derbyshared derbytools"),
    ("org.apache.activemq", "org/apache/activemq/", "activemq-broker activemq-client activemq-openwire-legacy "
     "activemq-all"),
    ("xalan", "org/apache/x", "xalan"),
    ("xalan", "org/apache/xml/serializer/", "serializer"),
    ("xerces", "org/apache/xerces/", "xercesImpl"),
    ("xml-apis", "org/w3c/dom/", "xml-apis"),
    ("xml-apis", "org/w3c/dom/", "xml-apis-ext"),
    ("xml-resolver", "org/apache/xml/resolver/", "xml-resolver"),
    ("org.jdom", "org/jdom", "jdom2 jdom"),
    ("jaxen", "org/jaxen/", "jaxen"),
    ("oro", "org/apache/oro/", "oro"),
    ("bsf", "org/apache/bsf/", "bsf"),
    ("antlr", "antlr/", "antlr"),
    ("org.antlr", "org/antlr/", "antlr4-runtime antlr-runtime ST4 stringtemplate antlr4"),
    ("org.ow2.asm", "org/objectweb/asm/", "asm asm-analysis asm-commons asm-tree asm-util asm-xml"),
    ("cglib", "net/sf/cglib/", "cglib cglib-nodep"),
    ("org.javassist", "javassist/", "javassist"),
    ("net.bytebuddy", "net/bytebuddy/", "byte-buddy byte-buddy-agent"),
    ("org.objenesis", "org/objenesis/", "objenesis"),
    ("aopalliance", "org/aopalliance/", "aopalliance"),
    ("org.aspectj", "org/aspectj/", "aspectjrt aspectjtools aspectjweaver"),
    ("com.google.guava", "com/google/common/", "guava failureaccess guava-testlib"),
    ("com.google.guava", "com/google/", "listenablefuture"),
    ("com.google.code.gson", "com/google/gson/", "gson"),
    ("com.google.code.findbugs", "javax/annotation/", "jsr305"),
    ("com.google.inject", "com/google/inject/", "guice"),
    ("com.google.inject.extensions", "com/google/inject/", "guice-assistedinject guice-multibindings guice-servlet "
     "guice-throwingproviders guice-grapher guice-jmx guice-jndi guice-persist guice-spring"),
    ("com.google.protobuf", "com/google/protobuf/", "protobuf-java protobuf-java-util protobuf-javalite"),
    ("com.google.errorprone", "com/google/errorprone/", "error_prone_annotations"),
    ("com.google.j2objc", "com/google/j2objc/", "j2objc-annotations"),
    ("com.google.re2j", "com/google/re2j/", "re2j"),
    ("io.grpc", "io/grpc/", "grpc-api grpc-auth grpc-context grpc-core grpc-netty grpc-netty-shaded grpc-protobuf "
     "grpc-protobuf-lite grpc-services grpc-stub grpc-okhttp grpc-util grpc-xds"),
    ("io.opentelemetry", "io/opentelemetry/", "opentelemetry-api opentelemetry-context opentelemetry-sdk "
     "opentelemetry-sdk-common opentelemetry-sdk-trace opentelemetry-sdk-metrics opentelemetry-exporter-otlp"),
    ("io.opentelemetry.javaagent", "io/opentelemetry/javaagent/", "opentelemetry-javaagent"),
    ("io.micrometer", "io/micrometer/", "micrometer-commons micrometer-core micrometer-observation "
     "micrometer-registry-prometheus micrometer-tracing"),
    ("io.projectreactor", "reactor/", "reactor-core"),
    ("io.projectreactor.netty", "reactor/netty/", "reactor-netty-core reactor-netty-http"),
    ("org.reactivestreams", "org/reactivestreams/", "reactive-streams"),
    ("io.netty", "io/netty/",
     "netty-all netty-buffer netty-codec netty-codec-base netty-codec-compression netty-codec-dns netty-codec-haproxy "
     "netty-codec-http netty-codec-http2 netty-codec-memcache netty-codec-mqtt netty-codec-protobuf netty-codec-redis "
     "netty-codec-smtp netty-codec-socks netty-codec-stomp netty-codec-xml netty-common netty-handler "
     "netty-handler-proxy netty-resolver netty-resolver-dns netty-tcnative-classes netty-transport "
     "netty-transport-classes-epoll netty-transport-classes-kqueue netty-transport-native-epoll "
     "netty-transport-native-kqueue netty-transport-native-unix-common netty-transport-rxtx netty-transport-sctp "
     "netty-transport-udt netty-handler-ssl-ocsp netty-resolver-dns-classes-macos"),
    ("com.fasterxml.jackson.core", "com/fasterxml/jackson/", "jackson-annotations jackson-core jackson-databind"),
    ("com.fasterxml.jackson.dataformat", "com/fasterxml/jackson/dataformat/",
     "jackson-dataformat-cbor jackson-dataformat-csv jackson-dataformat-properties jackson-dataformat-smile "
     "jackson-dataformat-toml jackson-dataformat-xml jackson-dataformat-yaml jackson-dataformat-avro"),
    ("com.fasterxml.jackson.datatype", "com/fasterxml/jackson/datatype/",
     "jackson-datatype-guava jackson-datatype-jdk8 jackson-datatype-joda jackson-datatype-jsr310"),
    ("com.fasterxml.jackson.module", "com/fasterxml/jackson/module/",
     "jackson-module-afterburner jackson-module-blackbird jackson-module-jaxb-annotations jackson-module-kotlin "
     "jackson-module-parameter-names jackson-module-scala_2.12 jackson-module-scala_2.13"),
    ("org.codehaus.jackson", "org/codehaus/jackson/", "jackson-core-asl jackson-mapper-asl jackson-jaxrs jackson-xc"),
    ("com.fasterxml.woodstox", "com/ctc/wstx/", "woodstox-core"),
    ("org.codehaus.woodstox", "org/codehaus/stax2/", "stax2-api"),
    ("org.yaml", "org/yaml/snakeyaml/", "snakeyaml"),
    ("com.thoughtworks.xstream", "com/thoughtworks/xstream/", "xstream"),
    ("net.minidev", "net/minidev/", "json-smart accessors-smart"),
    ("com.jayway.jsonpath", "com/jayway/jsonpath/", "json-path"),
    ("org.json", "org/json/", "json"),
    ("com.alibaba", "com/alibaba/fastjson/", "fastjson"),
    ("com.squareup.okhttp3", "okhttp3/", "okhttp logging-interceptor okhttp-urlconnection okhttp-tls okhttp-sse"),
    ("com.squareup.okio", "okio/", "okio okio-jvm"),
    ("com.squareup.retrofit2", "retrofit2/", "retrofit converter-gson converter-jackson"),
    ("org.jetbrains.kotlin", "kotlin/", "kotlin-stdlib kotlin-stdlib-common kotlin-stdlib-jdk7 kotlin-stdlib-jdk8 "
     "kotlin-reflect"),
    ("org.jetbrains.kotlinx", "kotlinx/", "kotlinx-coroutines-core kotlinx-coroutines-core-jvm "
     "kotlinx-coroutines-jdk8 kotlinx-coroutines-reactor kotlinx-serialization-core-jvm "
     "kotlinx-serialization-json-jvm"),
    ("org.jetbrains", "org/jetbrains/annotations/", "annotations"),
    ("org.scala-lang", "scala/", "scala-library scala-reflect scala-compiler"),
    ("org.scala-lang", "scala/", "scala3-library_3"),
    ("org.codehaus.groovy", "org/codehaus/groovy/", "groovy-all"),
    ("org.clojure", "clojure/", "clojure core.specs.alpha spec.alpha"),
    ("org.bouncycastle", "org/bouncycastle/",
     "bcmail-jdk15on bcmail-jdk18on bcpg-jdk15on bcpg-jdk18on bcpkix-jdk15on bcpkix-jdk15to18 bcpkix-jdk18on "
     "bcprov-ext-jdk15on bcprov-jdk14 bcprov-jdk15on bcprov-jdk15to18 bcprov-jdk16 bcprov-jdk18on bctls-jdk15on "
     "bctls-jdk18on bcutil-jdk15on bcutil-jdk18on bc-fips bcpkix-fips bctls-fips"),
    ("com.jcraft", "com/jcraft/", "jsch jzlib"),
    ("com.h2database", "org/h2/", "h2"),
    ("org.hsqldb", "org/hsqldb/", "hsqldb"),
    ("org.postgresql", "org/postgresql/", "postgresql"),
    ("mysql", "com/mysql/", "mysql-connector-java"),
    ("com.mysql", "com/mysql/", "mysql-connector-j"),
    ("org.mariadb.jdbc", "org/mariadb/jdbc/", "mariadb-java-client"),
    ("com.microsoft.sqlserver", "com/microsoft/sqlserver/", "mssql-jdbc"),
    ("com.oracle.database.jdbc", "oracle/jdbc/", "ojdbc8 ojdbc10 ojdbc11 ojdbc17 ucp"),
    ("org.xerial", "org/sqlite/", "sqlite-jdbc"),
    ("org.xerial.snappy", "org/xerial/snappy/", "snappy-java"),
    ("com.zaxxer", "com/zaxxer/hikari/", "HikariCP"),
    ("com.mchange", "com/mchange/", "c3p0 mchange-commons-java"),
    ("redis.clients", "redis/clients/", "jedis"),
    ("io.lettuce", "io/lettuce/core/", "lettuce-core"),
    ("org.mongodb", "org/bson/", "bson"),
    ("org.mongodb", "com/mongodb/", "mongodb-driver-core mongodb-driver-sync mongo-java-driver"),
    ("com.rabbitmq", "com/rabbitmq/", "amqp-client"),
    ("org.lz4", "net/jpountz/", "lz4-java lz4-pure-java"),
    ("com.github.luben", "com/github/luben/zstd/", "zstd-jni"),
    ("com.github.ben-manes.caffeine", "com/github/benmanes/caffeine/", "caffeine"),
    ("org.ehcache", "org/ehcache/", "ehcache"),
    ("com.hazelcast", "com/hazelcast/", "hazelcast hazelcast-all"),
    ("org.hibernate", "org/hibernate/", "hibernate-core hibernate-entitymanager hibernate-envers hibernate-ehcache "
     "hibernate-c3p0"),
    ("org.hibernate.common", "org/hibernate/annotations/common/", "hibernate-commons-annotations"),
    ("org.hibernate.validator", "org/hibernate/validator/", "hibernate-validator hibernate-validator-cdi"),
    ("org.jboss.logging", "org/jboss/logging/", "jboss-logging"),
    ("org.jboss", "org/jboss/jandex/", "jandex"),
    ("io.undertow", "io/undertow/", "undertow-core undertow-servlet undertow-websockets-jsr"),
    ("org.eclipse.jetty", "org/eclipse/jetty/",
     "jetty-alpn-client jetty-alpn-server jetty-annotations jetty-client jetty-continuation jetty-deploy jetty-http "
     "jetty-io jetty-jaas jetty-jmx jetty-jndi jetty-plus jetty-proxy jetty-quickstart jetty-rewrite jetty-security "
     "jetty-server jetty-servlet jetty-servlets jetty-util jetty-util-ajax jetty-webapp jetty-xml jetty-jaspi "
     "jetty-start jetty-alpn-java-server jetty-alpn-java-client"),
    ("org.eclipse.angus", "org/eclipse/angus/", "angus-activation angus-mail"),
    ("org.eclipse.jgit", "org/eclipse/jgit/", "org.eclipse.jgit org.eclipse.jgit.http.apache "
     "org.eclipse.jgit.http.server org.eclipse.jgit.junit org.eclipse.jgit.pgm org.eclipse.jgit.ssh.apache"),
    ("org.thymeleaf", "org/thymeleaf/", "thymeleaf thymeleaf-spring5 thymeleaf-spring6"),
    ("org.freemarker", "freemarker/", "freemarker"),
    ("org.jsoup", "org/jsoup/", "jsoup"),
    ("org.quartz-scheduler", "org/quartz/", "quartz quartz-jobs"),
    ("joda-time", "org/joda/time/", "joda-time"),
    ("org.threeten", "org/threeten/", "threetenbp threeten-extra"),
    ("junit", "org/junit/", "junit"),
    ("org.hamcrest", "org/hamcrest/", "hamcrest hamcrest-all hamcrest-core hamcrest-library"),
    ("org.mockito", "org/mockito/", "mockito-all mockito-core mockito-inline"),
    ("org.testng", "org/testng/", "testng"),
    ("net.java.dev.jna", "com/sun/jna/", "jna jna-platform"),
    ("org.fusesource.jansi", "org/fusesource/jansi/", "jansi"),
    ("org.jline", "org/jline/", "jline-reader jline-terminal jline-builtins"),
    ("info.picocli", "picocli/", "picocli"),
    ("args4j", "org/kohsuke/args4j/", "args4j"),
    ("net.sf.jopt-simple", "joptsimple/", "jopt-simple"),
    ("com.beust", "com/beust/jcommander/", "jcommander"),
    ("javax.inject", "javax/inject/", "javax.inject"),
    ("javax.servlet", "javax/servlet/", "javax.servlet-api servlet-api jstl"),
    ("jakarta.servlet", "jakarta/servlet/", "jakarta.servlet-api"),
    ("javax.annotation", "javax/annotation/", "javax.annotation-api"),
    ("jakarta.annotation", "jakarta/annotation/", "jakarta.annotation-api"),
    ("javax.activation", "javax/activation/", "javax.activation-api activation"),
    ("jakarta.activation", "jakarta/activation/", "jakarta.activation-api"),
    ("javax.xml.bind", "javax/xml/bind/", "jaxb-api"),
    ("jakarta.xml.bind", "jakarta/xml/bind/", "jakarta.xml.bind-api"),
    ("javax.persistence", "javax/persistence/", "javax.persistence-api"),
    ("jakarta.persistence", "jakarta/persistence/", "jakarta.persistence-api"),
    ("javax.transaction", "javax/transaction/", "javax.transaction-api jta"),
    ("jakarta.transaction", "jakarta/transaction/", "jakarta.transaction-api"),
    ("javax.validation", "javax/validation/", "validation-api"),
    ("jakarta.validation", "jakarta/validation/", "jakarta.validation-api"),
    ("javax.ws.rs", "javax/ws/rs/", "javax.ws.rs-api jsr311-api"),
    ("jakarta.ws.rs", "jakarta/ws/rs/", "jakarta.ws.rs-api"),
    ("javax.mail", "javax/mail/", "mail javax.mail-api"),
    ("com.sun.mail", "com/sun/mail/", "javax.mail jakarta.mail"),
    ("io.swagger", "io/swagger/", "swagger-annotations swagger-core swagger-models"),
    ("com.auth0", "com/auth0/", "java-jwt jwks-rsa"),
    ("com.nimbusds", "com/nimbusds/", "nimbus-jose-jwt oauth2-oidc-sdk"),
    ("io.jsonwebtoken", "io/jsonwebtoken/", "jjwt jjwt-api jjwt-impl jjwt-jackson"),
    ("io.dropwizard.metrics", "com/codahale/metrics/", "metrics-core metrics-jvm metrics-jmx metrics-json"),
    ("io.prometheus", "io/prometheus/", "simpleclient simpleclient_common simpleclient_hotspot "
     "simpleclient_httpserver"),
    ("io.prometheus.jmx", "io/prometheus/jmx/", "jmx_prometheus_javaagent jmx_prometheus_httpserver"),
    ("org.flywaydb", "org/flywaydb/", "flyway-core"),
    ("org.liquibase", "liquibase/", "liquibase-core"),
    ("org.mybatis", "org/apache/ibatis/", "mybatis"),
    ("org.projectlombok", "lombok/", "lombok"),
    ("org.mapstruct", "org/mapstruct/", "mapstruct"),
    ("org.tukaani", "org/tukaani/xz/", "xz"),
    ("org.apache.geronimo.specs", "javax/", "geronimo-jta_1.1_spec geronimo-jms_1.1_spec "
     "geronimo-j2ee-management_1.1_spec geronimo-annotation_1.3_spec geronimo-interceptor_3.0_spec"),
    ("org.mozilla", "org/mozilla/", "rhino rhino-runtime"),
    ("org.jruby", "org/jruby/", "jruby-complete jruby-core"),
    ("org.python", "org/python/", "jython-standalone"),
    ("javax.jdo", "javax/jdo/", "jdo-api"),
    ("org.apache.thrift", "com/facebook/", "libfb303"),
    ("org.rocksdb", "org/rocksdb/", "rocksdbjni"),
    ("stax", "javax/xml/stream/", "stax-api"),
    ("com.google.crypto.tink", "com/google/crypto/tink/", "tink"),
    ("net.sourceforge.f2j", "org/netlib/", "arpack_combined_all"),
    ("org.roaringbitmap", "org/roaringbitmap/", "shims"),
    ("javax.transaction", "javax/transaction/", "transaction-api"),
    ("net.sf.py4j", "py4j/", "py4j"),
    ("com.esotericsoftware", "com/esotericsoftware/", "kryo-shaded"),
    ("org.roaringbitmap", "org/roaringbitmap/", "RoaringBitmap"),
    ("com.ibm.icu", "com/ibm/icu/", "icu4j"),
    ("org.checkerframework", "org/checkerframework/", "checker-qual"),
    ("org.apiguardian", "org/apiguardian/", "apiguardian-api"),
    ("org.osgi", "org/osgi/", "osgi.annotation osgi.core osgi.cmpn org.osgi.core org.osgi.compendium"))

KNOWN = {name: (group, classes) for group, classes, names in _ROWS for name in names.split()}
"""By the artifact its group, and what the names of its classes begin with."""
